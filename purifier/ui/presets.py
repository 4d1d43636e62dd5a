"""Three attacks that are set up in one click, and the live attack that follows the slider."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.pictures.files import quantise, read_image
from purifier.readings import read
from purifier.runs import ANY
from purifier.texts import UserError
from purifier.ui.actions import attack, choose
from purifier.ui.examples import example_files
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.ui.view import within
from purifier.wording.language import say
from purifier.wording.readings import diagnosis

MELANOMA, NEVUS = "MEL", "NV"
LIVE = "fgsm"  # the method of the live attack


@dataclass(frozen=True)
class Preset:
    """An attack's aim, and what it starts from: ``suits`` says of which readings of a picture it makes sense."""

    title: str
    target: str
    kind: str  # of pictures, in words
    suits: frozenset[str] | None = None  # None: of any


PRESETS = (
    Preset("Melanoma made benign", NEVUS, "a melanoma", frozenset({MELANOMA})),
    Preset(
        "Benign made melanoma", MELANOMA, "something benign",
        frozenset(code for code, diagnosis in DIAGNOSES.items() if not diagnosis.malignant),
    ),
    Preset("Any error", ANY, "anything"),
)  # fmt: skip


def set_up(preset: Preset, session: Session) -> Update:
    """Aim the attack; where the picture does not suit, or there is none, choose an example that does.

    A picture of the visitor's own is never replaced.
    """
    classifier = classifier_for_page(session.classifier)
    if preset.target != ANY and preset.target not in classifier.labels:
        name = diagnosis(preset.target)
        raise UserError(
            "{classifier} does not know the diagnosis {diagnosis}.", classifier=classifier.source, diagnosis=name
        )
    aim = say("any other diagnosis") if preset.target == ANY else within(diagnosis(preset.target))
    if session.original is not None and suits(preset, classifier, session.original):
        text = say("The attack aims at: {aim}. Now press Attack it.", aim=aim)
        return Update(status=status(text), target=preset.target)
    kind = say(preset.kind)
    if session.is_own:
        reading = within(diagnosis(read(classifier, session.original)[0].top))
        raise UserError(
            "Your picture is read as {reading}, and this attack starts from {kind}. Choose an example, or aim at "
            "another diagnosis.",
            reading=reading,
            kind=kind,
        )
    for path in example_files():
        if suits(preset, classifier, quantise(read_image(path))):
            text = say(
                "An example that is read as {kind} was chosen; the attack aims at: {aim}. Now press Attack it.",
                kind=kind,
                aim=aim,
            )
            chosen = choose(str(path), session, is_own=False)
            return replace(chosen, status=status(text), target=preset.target)
    raise UserError(
        "This classifier reads no example as {kind}. Choose another classifier, or a picture of your own.", kind=kind
    )


def suits(preset: Preset, classifier: Classifier, x) -> bool:
    """Whether the classifier reads the picture as the preset needs it."""
    return preset.suits is None or read(classifier, x)[0].top in preset.suits


def live(session: Session, is_live: bool, epsilon: int, target: str, seed: int) -> Iterator[Update]:
    """The attack in one step, if it is to follow the slider."""
    if not is_live:
        yield Update()
        return
    need_picture(session)
    yield from attack(session, LIVE, epsilon, 1, target, seed, knows=False)
