"""The heat maps of 'Try': where the classifier looks for what each card says, laid over its picture."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from purifier.attention import grad_cam
from purifier.classifiers.classifier import Classifier
from purifier.ui.events import EXPECTED
from purifier.ui.results import drawn
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, warn
from purifier.ui.updates import Update
from purifier.wording.language import say


def look(is_wanted: bool, session: Session) -> Iterator[Update]:
    """Lay the heat maps over the pictures, or take them away. Where there can be none, say why and switch off."""
    yield Update(status=status(say("Looking for where the classifier looks.") if is_wanted else ""))
    try:
        need_picture(session)
        classifier = classifier_for_page(session.classifier)
        session = replace(session, heat=heat_maps(session, classifier) if is_wanted else None)
    except EXPECTED as error:
        yield Update(looking=False, status=warn(error))
        return
    shown = drawn(session, classifier)
    said = say("Each heat map is for what its card says.") if is_wanted else ""
    yield Update(
        session=session,
        original_card=shown.original_card,
        attacked_card=shown.attacked_card,
        purified_card=shown.purified_card,
        looking=shown.looking,
        status=status(said),
    )


def heat_maps(session: Session, classifier: Classifier) -> dict[str, Tensor]:
    """By the names of the pictures, each for the likeliest label of its card's reading; ``grad_cam``'s."""
    pictures, readings = session.run.pictures(), session.run.readings(classifier)
    y = torch.tensor([classifier.labels.index(readings[name].top) for name in pictures])
    device = classifier.mean.device
    found = grad_cam(classifier, torch.cat(list(pictures.values())).to(device), y.to(device)).cpu()
    return dict(zip(pictures, found.split(1), strict=True))
