"""Further ways to a picture in 'Try': a DICOM file, and the ISIC Archive by id where it can be reached."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from purifier.classifiers.taxonomy import DIAGNOSES, code_of
from purifier.pictures import isic_archive
from purifier.templates import Markup
from purifier.texts import UserError
from purifier.ui.actions import choose
from purifier.ui.components import QUIET, as_given, label
from purifier.ui.events import restart_on
from purifier.ui.session import Session
from purifier.ui.updates import Update
from purifier.wording.language import say

UNREACHABLE = '<p class="lp-note">The ISIC Archive cannot be reached from this server.</p>'


class MorePictures:
    """Laid out where it is made; ``wire`` it when what it draws on is there."""

    def __init__(self) -> None:
        with gr.Accordion(label("More ways to open a picture"), open=False) as self.folded:
            self.dicom = as_given(
                gr.UploadButton(label("Open a DICOM file"), file_types=[".dcm"], size="sm", visible=has_dicom())
            )
            with gr.Column(visible=False) as self.archive:
                with gr.Row(elem_classes="lp-run"):
                    self.isic_id = gr.Dropdown(
                        archive_choices(),
                        value=None,
                        allow_custom_value=True,
                        label=label("Picture of the ISIC Archive"),
                        info=label("Its number, such as ISIC_0024306; or one of these."),
                    )
                    self.fetch = gr.Button(label("Fetch"), min_width=80)
                self.source = gr.HTML()
            self.unreachable = gr.HTML(label(UNREACHABLE), visible=False)

    @property
    def events(self) -> list[Callable]:
        """Those that bring a picture."""
        return [self.dicom.upload, self.fetch.click]

    def wire(self, outputs: Mapping[str, Component], running: Sequence[Dependency]) -> list[Dependency]:
        """``outputs`` is what ``choose`` draws, by the names of ``Update``'s fields; ``running`` what a new picture
        ends. Returns what brings pictures, which may take its time."""
        session = outputs["session"]
        uploaded, fetched = self.events
        self.folded.expand(look, None, [self.archive, self.unreachable], **QUIET)  # nobody is asked before
        return [
            restart_on(uploaded, running, choose, [self.dicom, session], outputs),
            restart_on(fetched, running, from_archive, [self.isic_id, session], outputs),
        ]


def has_dicom() -> bool:
    """Whether pydicom, an optional extra, is there."""
    return importlib.util.find_spec("pydicom") is not None


def archive_choices() -> list[tuple[str, str]]:
    """A dozen pictures of different diagnoses, named by their codes."""
    return [(f"{isic_id} ({code})", isic_id) for isic_id, code in isic_archive.EXAMPLES]


def look() -> tuple:
    """Show the Archive where it can be reached."""
    reachable = isic_archive.is_reachable()
    return gr.Column(visible=reachable), gr.HTML(visible=not reachable)


def from_archive(isic_id: str | None, session: Session) -> Update:
    """Choose a picture of the Archive, and say whose it is."""
    if not (isic_id or "").strip():
        raise UserError("Give the number of a picture, such as ISIC_0024306.")
    found = isic_archive.fetch(isic_id)
    code = code_of(found.diagnosis)
    truth = code if code in DIAGNOSES else None
    return replace(choose(found.file, session, truth=truth), source=credit(found))


def credit(found: isic_archive.ArchivePicture) -> Markup:
    """Whose picture it is, under which licence, and what the Archive says that it shows."""
    said = say(
        "{isic_id}: {attribution}; licence {licence}.",
        isic_id=found.isic_id,
        licence=found.licence,
        attribution=found.attribution or say("no attribution given"),
    )
    told = say("The Archive's diagnosis: {diagnosis}.", diagnosis=found.diagnosis) if found.diagnosis else ""
    link = Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(found.page, found.isic_id)
    return Markup('<p class="lp-note">{} {} {}</p>').format(said, told, link)
