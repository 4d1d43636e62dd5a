"""Marks on the cards of 'Try' for what was made with other settings than those that the controls show now."""

from dataclasses import replace

from purifier.runs import Attack, Settings
from purifier.templates import Markup, macros
from purifier.texts import UserError
from purifier.ui.controls import SEED, attack_from, purifier_from
from purifier.ui.presets import LIVE
from purifier.ui.session import Session
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.wording.language import say
from purifier.wording.runs import Row, attack_rows, purifier_rows

SHOWN = 3  # settings, of those that are others


def mark(
    session: Session,
    is_live: bool,
    method: str,
    epsilon: int,
    steps: int,
    target: str,
    attack_seed: int,
    knows: bool,
    blocks: int,
    sigma: float,
    weight: float,
    scales: list[float],
    denoiser: str,
    seed: int,
    draws: int,
) -> Update:
    """Say on each card which settings its picture was made with, as far as they are others now, and withdraw report
    and theatre where one is old."""
    try:
        purifier = purifier_from(blocks, sigma, weight, scales, denoiser)
        live = is_live and session.attack is not None and session.attack.settings.method == LIVE
        settings = attack_from(LIVE if live else method, epsilon, 1 if live else steps)
        known = purifier if knows and not live else None
        wanted = Attack(settings=settings, target=target, known=known, seed=SEED.check(attack_seed))
        now = Settings(attack=wanted, purifier=purifier, seed=SEED.check(seed), draws=draws)
    except (UserError, TypeError):  # it is said when a button is pressed
        return Update()
    of_attack = _changed(session, now) if session.attacked is not None else []
    of_purifier = (
        [] if session.purified is None else of_attack + _others(_purifier(session.run.settings), _purifier(now))
    )
    marks = Update(attacked_old=_note(of_attack), purified_old=_note(of_purifier))
    if of_attack or of_purifier:
        return replace(marks, theatre="", report="", report_status=status(""))
    return marks


def _changed(session: Session, now: Settings) -> list[str]:
    made = session.attack
    wanted = replace(now.attack, classifier=made.classifier, stopped_after=made.stopped_after)
    return _others(_attack(made), _attack(wanted))


def _attack(attack: Attack) -> list[Row]:
    return attack_rows(attack) + (purifier_rows(attack.known, attack.seed + 1) if attack.known else [])


def _purifier(settings: Settings) -> list[Row]:
    return [*purifier_rows(settings.purifier, settings.seed), (say("Draws averaged"), str(settings.draws))]


def _others(made: list[Row], now: list[Row]) -> list[str]:
    """What ``made`` says otherwise."""
    return [f"{what}: {value}" for what, value in made if (what, value) not in now]


def _note(found: list[str]) -> Markup | str:
    return macros("results.html").old(found[:SHOWN], len(found) > SHOWN) if found else ""
