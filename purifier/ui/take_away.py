"""Below the results: a report of what was done to the picture, for taking away, and settings brought back."""

import base64
import json
from collections.abc import Sequence
from html import escape

import gradio as gr
from gradio.components import Component

from purifier.classifiers.taxonomy import full_name
from purifier.pipeline import Purifier
from purifier.reports import html_report, pdf_report, record, stages_zip
from purifier.runs import ANY, Settings, purify_run
from purifier.ui.components import PRIVATE, label
from purifier.ui.controls import SEED
from purifier.ui.handlers import attack_from, beginning, need_picture, purifier_from, readable, status, target_choices
from purifier.ui.session import Session, classifier_for_page
from purifier.wording.language import say

ABOUT = (
    "<p>A report with every picture, reading, setting and hash, of what stands above. The report itself is "
    "not kept on the server. With its settings (run.json) the same picture gives the same run again.</p>"
)


ELSEWHERE = "These settings have values that the page has no controls for. Use the command purifier report."


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

    def wire(self, session: gr.State, controls: Sequence[Component], shown: Sequence[Component]) -> None:
        """``controls`` are those that ``control_values`` sets, in its order; ``shown`` what is drawn of a session."""
        self.make.click(readable(report_links), session, [self.links, self.said], **PRIVATE)
        self.bring.upload(
            readable(load_settings), [self.bring, session], [self.links, self.said, *controls, *shown], **PRIVATE
        )


def report_links(session: Session):
    """Links to the report's files, which lie in the page itself."""
    need_picture(session)
    classifier = classifier_for_page(session.classifier)
    done, attacker = session.run, None
    if done.settings.attack is not None and done.settings.attack.classifier != session.classifier:
        attacker = classifier_for_page(done.settings.attack.classifier)
    yield gr.skip(), status(say("The report is being made."))
    done = purify_run(done, classifier)
    about = record(done, classifier, attacker=attacker)
    files = {
        say("Report to read (HTML)"): ("report.html", "text/html", html_report(done, classifier, attacker=attacker)),
        say("Report to print (PDF)"): (
            "report.pdf",
            "application/pdf",
            pdf_report(done, classifier, attacker=attacker),
        ),
        say("All pictures (ZIP)"): ("stages.zip", "application/zip", stages_zip(done, classifier, attacker=attacker)),
        say("Settings (JSON)"): ("run.json", "application/json", json.dumps(about, indent=2)),
    }
    links = "".join(f"<li>{_link(text, *file)}</li>" for text, file in files.items())
    yield f'<ul class="lp-links">{links}</ul>', status(say("The report is ready."))


def _link(text: str, name: str, kind: str, content: str | bytes) -> str:
    data = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{escape(text)}</a>'


def load_settings(content: bytes, session: Session) -> tuple:
    """The controls as a run.json has them; the picture on the page stays, without what was done to it."""
    settings = Settings.from_json(content)
    attack = settings.attack
    made_on = settings.classifier if attack is None else attack.classifier
    text = say("The settings are loaded. Press Attack, then Purify, to do it again.")
    if made_on != settings.classifier:
        text = say(
            "The settings are loaded. Press Attack; then choose the classifier {classifier} and press Purify.",
            classifier=settings.classifier,
        )
    values = control_values(settings, classifier_for_page(made_on).labels)
    session = Session(original=session.original, is_own=session.is_own, classifier=made_on)
    return "", status(escape(text)), *values, *beginning(session), status("")


def control_values(settings: Settings, labels: Sequence[str]) -> tuple:
    """What the controls of 'Try it' show of settings: classifier (the attacker's), epsilon, target, knows, method,
    steps, attack seed; blocks, sigma, weight, scales, noise seed. What was not done leaves its controls as they are.

    ``labels`` are the classifier's. Raises ``ValueError`` for settings that the page has no controls for.
    """
    attack, purifier = settings.attack, settings.purifier
    of_attack, of_purifier = [gr.skip()] * 6, [gr.skip()] * 5
    if attack is not None:
        how = attack.settings
        epsilon = round(255 * how.eps)
        if attack_from(how.method, epsilon, how.steps) != how or attack.stopped_after is not None:
            raise ValueError(ELSEWHERE)
        if attack.target != ANY and attack.target not in labels:
            raise ValueError(f"{attack.classifier} does not know the diagnosis {full_name(attack.target)}.")
        target = gr.Dropdown(choices=target_choices(labels), value=attack.target)
        of_attack = [epsilon, target, attack.known is not None, how.method, how.steps, SEED.check(attack.seed)]
    shown = purifier or (attack.known if attack else None)
    if shown is not None:
        values = purifier_values(shown)
        if purifier_from(*values) != shown or (attack and attack.known not in (None, shown)):
            raise ValueError(ELSEWHERE)
        of_purifier = [*values, SEED.check(settings.seed)]
    return settings.classifier if attack is None else attack.classifier, *of_attack, *of_purifier


def purifier_values(purifier: Purifier) -> tuple:
    """Blocks, sigma, weight and scales as the controls have them."""
    return purifier.blocks, round(255 * purifier.sigma, 6), purifier.weight, list(purifier.scales)
