"""The result strip of 'Try it': what the classifier reads of the original, the attacked and the purified picture."""

import functools
import json
import math
from dataclasses import replace
from html import escape

from torch import Tensor

from purifier.classifiers import MODELS, Classifier, bundled_classifiers
from purifier.readings import Reading, is_foreign, read
from purifier.runs import amplified
from purifier.ui.session import Session
from purifier.ui.view import card, cards, headline, mark

NOT_MEASURED = "How often this classifier is right was not measured here."


def result_cards(session: Session, classifier: Classifier) -> str:
    """One line with the readings so far and what they say together; then each picture beside its reading."""
    x, adv, clean = session.original, session.attacked, session.purified
    present = [z for z in (x, adv, clean) if z is not None]
    readings = iter(read(classifier, *present) if present else [])
    of_x, of_adv, of_clean = (next(readings) if z is not None else None for z in (x, adv, clean))
    if of_x is not None:
        of_x = replace(of_x, foreign=is_foreign(classifier, x))
    seen = f"Its centre square, as the classifier sees it: {classifier.size[0]} pixels a side."
    made = ""
    if session.attack is not None and session.attack.classifier != session.classifier:
        made = f" Made on {session.attack.classifier}."
    parts = [
        card("Original", x, "Choose a picture in step 1." if x is None else seen, of_x),
        card("Attacked", adv, "Press Attack." if adv is None else _change(x, adv) + made, of_adv, against=of_x),
    ]
    if adv is None:
        parts.append(card("Perturbation", None, "What an attack adds, made visible."))
    else:
        factor = round(0.5 / session.attack.settings.eps)
        note = f"What the attack added, {factor} times as strong; grey is no change."
        parts.append(card("Perturbation", amplified(x, adv, factor), note))
    parts.append(
        card("Purified", clean, "Press Purify." if clean is None else _change(x, clean), of_clean, against=of_x)
    )
    so_far = {"Original": of_x, "Attacked": of_adv, "Purified": of_clean}
    about = f'<p class="lp-note">{_how_good(session.classifier)}</p>'
    return _strip(so_far) + f'<p class="lp-agreement">{_together(of_x, of_adv, of_clean)}</p>' + cards(parts) + about


def _strip(readings: dict[str, Reading | None]) -> str:
    """Original, then attacked, then purified, in one line."""
    labels = list(dict.fromkeys(r.top for name, r in readings.items() if r is not None and name != "Purified"))
    steps = "".join(
        f"<li{'' if r is None else ' class=lp-known'}><small>{name}</small> "
        f"<b>{'&ndash;' if r is None else f'{mark(r, labels)} {escape(headline(r))}'}</b></li>"
        for name, r in readings.items()
    )
    return f'<ol class="lp-strip" aria-label="Readings so far">{steps}</ol>'


def _together(original: Reading | None, attacked: Reading | None, purified: Reading | None) -> str:
    """What the readings say together; never that one is right, which nobody here can know."""
    found = [reading.top for reading in (original, attacked, purified) if reading is not None]
    if len(found) < 2:
        return "&nbsp;"
    if len(set(found)) == 1:
        return "The readings agree, which does not make them right."
    warn = '<span class="lp-changed">&#9888;</span> '
    if attacked is not None and purified is not None and purified.top == original.top:
        return (
            warn + "The attack changed the reading, and purification brought the original's back. It may be wrong too."
        )
    return warn + "The readings disagree: do not trust any one of them."


def _change(x: Tensor, z: Tensor) -> str:
    levels = round(((z - x).abs().max() * 255).item())
    error = (z - x).square().mean().item()
    psnr = f"{-10 * math.log10(error):.1f} dB" if error > 0 else "infinite"
    return f"Against the original: at most {levels} of 255 levels; PSNR {psnr}."


@functools.cache
def _how_good(name: str) -> str:
    """How often a bundled classifier is right on test pictures that nobody attacked, melanomas first."""
    if name not in bundled_classifiers():
        return NOT_MEASURED
    clean = json.loads((MODELS / name / "metrics.json").read_text())["clean"]
    melanomas, nevi = clean["recall"]["MEL"], clean["recall"]["NV"]
    return (
        f"How often is <b>{name}</b> right where nobody attacks? Of {melanomas['images']} melanomas of the test split "
        f"it recognises <b>{_percent(melanomas)}</b>; of all {clean['images']} pictures, {nevi['images']} of which are "
        f"melanocytic nevi, it reads {_percent(clean['accuracy'])} rightly. More under <b>About</b>."
    )


def _percent(score: dict) -> str:
    return f"{100 * score['value']:.0f} % ({100 * score['low']:.0f}–{100 * score['high']:.0f})"
