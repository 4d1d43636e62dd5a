"""Below the results: a report of what was done to the picture, for taking away, and settings brought back."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from purifier.reports import NEEDS_PANGO, can_print, html_report, pdf_report, record, stages_zip
from purifier.runs import Settings, purify_run
from purifier.templates import macros
from purifier.ui.components import LOAD, PRIVATE, label
from purifier.ui.controls import control_values
from purifier.ui.events import update_on
from purifier.ui.results import drawn
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.wording.language import say

ABOUT = (
    "<p>A report with every picture, reading, setting and hash, of what stands above. The report itself is "
    "not kept on the server. With its settings (run.json) the same picture gives the same run again.</p>"
)


class TakeAway:
    """Laid out where it is made; ``wire`` it when the controls are there."""

    def __init__(self) -> None:
        with gr.Accordion(label("Take it away: report, pictures, settings"), open=False):
            gr.HTML(label(ABOUT))
            with gr.Row():
                self.make = gr.Button(label("Make the report"), min_width=160)
                self.bring = gr.UploadButton(
                    label("Load settings (run.json)"), file_types=[".json"], type="binary", min_width=160
                )
            self.said, self.links = gr.HTML(status("")), gr.HTML()

    def wire(self, outputs: Mapping[str, Component]) -> list[Dependency]:
        """``outputs`` are the controls and what is drawn of a session, by the names of ``Update``'s fields. Returns
        what makes the report and what loads settings, both of the picture that is there."""
        links = dict(report=self.links, report_status=self.said)
        session = outputs["session"]
        # The settings may name a classifier of the Hub.
        brought = [self.bring, session]
        bringing = update_on(self.bring.upload, load_settings, brought, links | dict(outputs), **PRIVATE | LOAD)
        return [update_on(self.make.click, report_links, session, links, **PRIVATE), bringing]


def report_links(session: Session) -> Iterator[Update]:
    """Links to the report's files, which lie in the page itself."""
    need_picture(session)
    classifier = classifier_for_page(session.classifier)
    done, attacker = session.run, None
    if done.settings.attack is not None and done.settings.attack.classifier != session.classifier:
        attacker = classifier_for_page(done.settings.attack.classifier)
    yield Update(report_status=status(say("The report is being made.")))
    done = purify_run(done, classifier)
    about = record(done, classifier, attacker=attacker)
    said, made = say("The report is ready."), dict(attacker=attacker)
    files = [
        (say("Report to read (HTML)"), "report.html", "text/html", html_report(done, classifier, **made)),
        (say("All pictures (ZIP)"), "stages.zip", "application/zip", stages_zip(done, classifier, **made)),
        (say("Settings (JSON)"), "run.json", "application/json", json.dumps(about, indent=2)),
    ]
    if can_print():
        paper = pdf_report(done, classifier, **made)
        files.insert(1, (say("Report to print (PDF)"), "report.pdf", "application/pdf", paper))
    else:
        said = say(NEEDS_PANGO)
    yield Update(report=macros("links.html").links(files), report_status=status(said))


def load_settings(content: bytes, session: Session) -> Update:
    """The controls as a run.json has them; the picture on the page stays, without what was done to it."""
    settings = Settings.from_json(content)
    attack = settings.attack
    made_on = settings.classifier if attack is None else attack.classifier
    text = say("The settings are loaded. Press Attack it, then Purify it, to do it again.")
    if made_on != settings.classifier:
        text = say(
            "The settings are loaded. Press Attack it; then choose the classifier {classifier} and press Purify it.",
            classifier=settings.classifier,
        )
    if attack is not None and attack.stopped_after is not None:
        stopped = say(
            "The attack was stopped after {done} of {steps} steps; here it takes all of them unless you stop it.",
            done=attack.stopped_after,
            steps=attack.settings.steps,
        )
        text = f"{text} {stopped}"
    classifier = classifier_for_page(made_on)
    session = replace(session.read_by(made_on), attacked=None, attack=None)
    return replace(
        drawn(session, classifier),
        status=status(""),
        report_status=status(text),
        **control_values(settings, classifier.labels),
    )
