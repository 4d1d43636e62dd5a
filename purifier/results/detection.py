"""From the rows of a detection run to scores with intervals, and a table."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from purifier.alarm import FALSE_ALARMS
from purifier.evaluation.attackers import Attacker, get_attacker
from purifier.evaluation.intervals import PERCENT, Score, auroc, bootstrap, share, written
from purifier.evaluation.settings import DETECTORS
from purifier.files import ASSETS, write_atomically
from purifier.results.tables import markdown

DETECTION = ASSETS / "detection"
NAMES = {"alarm": "alarm", "squeezing": "feature squeezing"}
EVADERS = {"alarm": "evade", "squeezing": "evade-squeezing"}  # kinds of attackers who know the detector
ABOUT = f"""Attacked against clean pictures. The area under the ROC curve; and the share of attacked pictures that is
detected where the threshold is set so that at most {100 * FALSE_ALARMS:g} % of the run's clean pictures are: of all,
and of those that the attack changed from a right reading to a wrong one. Attackers who evade know the detector, and
choose for each picture the best of several weights of its score. Brackets hold 95 % intervals over lesions."""
CALIBRATED = "Called attacked by the alarm as it was calibrated on validation pictures:"


@dataclass(frozen=True, kw_only=True)
class Detected:
    """One detector, under one attack. ``called`` is the share that the alarm calls attacked by its calibration; None
    for another detector, and without a calibration. On clean pictures it is all there is."""

    classifier: str
    detector: str
    attack: str
    eps: float | None  # in 1/255
    successful: bool = False  # of the attacked pictures, only those that went from right to wrong
    source: str | None = None  # of the pictures, where one alone is looked at
    n: int  # pictures, attacked ones unless the attack is none
    lesions: int
    draws: int | None = None  # of the alarm's purifier, whose mean it goes by
    auroc: Score | None = None
    detected: Score | None = None
    called: Score | None = None

    @property
    def attacker(self) -> Attacker:
        """Its kind, steps and samples, and what it knows."""
        return get_attacker(self.attack)

    @property
    def evaded(self) -> bool:
        """Whether the attacker knows this detector and evades it."""
        return self.attacker.kind == EVADERS[self.detector]

    @classmethod
    def read(cls, stored: dict) -> "Detected":
        """From what ``write_detection`` stored."""
        return cls(**stored | {name: Score.read(stored[name]) for name in SCORES if stored[name] is not None})


SCORES = [field.name for field in fields(Detected) if field.type == Score | None]


def read_detections(folder: Path = DETECTION) -> dict[str, list[Detected]]:
    """What every stored run found, by its name; empty where there is no such folder."""
    found = {}
    for path in sorted(folder.glob("*/summary.json")):
        draws = json.loads((path.parent / "settings.json").read_text(encoding="utf-8"))["draws"]
        stored = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = [Detected.read(one | {"draws": draws}) for one in stored]
    return found


def among(
    found: Iterable[Detected], attack: str, eps: float | None, detector: str = "alarm", successful: bool = False
) -> Detected | None:
    """The one of this attack and detector on pictures of all sources, if there is one."""
    wanted = (attack, eps, detector, successful, None)
    return next((d for d in found if (d.attack, d.eps, d.detector, d.successful, d.source) == wanted), None)


def evading(found: Iterable[Detected], eps: float | None) -> Detected | None:
    """Of the attackers of this size who know the alarm the one whose pictures it ranks worst, if there is one; on
    pictures of all sources."""
    known = [d for d in found if d.detector == "alarm" and d.evaded and d.eps == eps]
    known = [d for d in known if d.source is None and not d.successful]
    return min(known, key=lambda d: d.auroc.value, default=None)


def write_detection(rows: pd.DataFrame, out: Path) -> list[Detected]:
    """Write ``summary.json`` and ``table.md`` of a run's rows to ``out``; the scores."""
    found = summarise(rows)
    stored = json.dumps([asdict(one) for one in found], indent=2, allow_nan=False) + "\n"
    write_atomically(out / "summary.json", stored.encode())
    write_atomically(out / "table.md", table(found).encode())
    return found


def summarise(rows: pd.DataFrame) -> list[Detected]:
    """The scores of every detector under every attack, of all pictures and of each source where there are several."""
    sources = [source for source in rows.source.unique() if source]
    found = list(_of(rows, None))
    for source in sorted(sources) if len(sources) > 1 else []:
        found += _of(rows[rows.source == source], source)
    return found


def _of(rows: pd.DataFrame, source: str | None) -> Iterable[Detected]:
    clean = rows[rows.attack == "none"].set_index("image")
    was_right = clean.predicted == clean.label
    yield _detected(clean, None, "alarm", source=source)
    for _, group in rows[rows.attack != "none"].groupby(["attack", "eps"], sort=False, dropna=False):
        changed = group[was_right.reindex(group.image).to_numpy() & (group.predicted != group.label).to_numpy()]
        for detector in DETECTORS:
            yield _detected(group, clean, detector, source=source)
            if len(changed):
                yield _detected(changed, clean, detector, source=source, successful=True)


def _detected(group: pd.DataFrame, clean: pd.DataFrame | None, detector: str, **about) -> Detected:
    """Of the rows of one attack against those of ``clean`` pictures, if these are others."""
    first, scores = group.iloc[0], {}
    if clean is not None:
        both = pd.concat([clean, group])
        truth, values = np.arange(len(both)) >= len(clean), both[detector].to_numpy()
        lesions = both.lesion.to_numpy(str)
        scores = {"auroc": auroc(truth, values, lesions), "detected": detection_rate(truth, values, lesions)}
    if detector == "alarm" and group.false_alarm_rate.notna().all():
        scores["called"] = share(group.false_alarm_rate <= FALSE_ALARMS, group.lesion.to_numpy(str))
    return Detected(
        classifier=first.classifier,
        detector=detector,
        attack=first.attack,
        eps=None if pd.isna(first.eps) else float(first.eps),
        n=len(group),
        lesions=group.lesion.nunique(),
        **about,
        **scores,
    )


def detection_rate(truth: np.ndarray, scores: np.ndarray, lesions: np.ndarray) -> Score:
    """The share of the attacked (``truth``) that score above all but ``FALSE_ALARMS`` of the others. The interval is
    the bootstrap's over lesions, the threshold being drawn anew with them, and at least as wide as Wilson's."""

    def rate(chosen: np.ndarray) -> float:
        is_attacked = truth[chosen]
        if is_attacked.all() or not is_attacked.any():
            return np.nan
        return float((scores[chosen][is_attacked] > threshold(scores[chosen][~is_attacked])).mean())

    resampled = bootstrap(rate, len(truth), lesions)
    plain = share(scores[truth] > threshold(scores[~truth]), lesions[truth])
    return Score(value=plain.value, low=min(plain.low, resampled.low), high=max(plain.high, resampled.high))


def threshold(clean: np.ndarray) -> float:
    """Above which at most ``FALSE_ALARMS`` of the scores are."""
    return float(np.quantile(clean, 1 - FALSE_ALARMS, method="higher"))


def table(found: list[Detected]) -> str:
    """As Markdown."""
    whole = [one for one in found if one.source is None]
    parts = [ABOUT, _scores_table(whole)]
    called = [one for one in whole if one.called is not None]
    if called:
        cells = [(*_under(one), str(one.n), written(one.called, PERCENT)) for one in called]
        parts += [CALIBRATED, markdown(pd.DataFrame(cells, columns=["pictures", "among", "n", "called attacked"]))]
    for source in dict.fromkeys(one.source for one in found if one.source):
        parts += [f"Of pictures from {source}:", _scores_table([one for one in found if one.source == source])]
    return "\n\n".join(parts) + "\n"


def _scores_table(found: Iterable[Detected]) -> str:
    cells = [
        (*_under(one), NAMES[one.detector], str(one.n), written(one.auroc), written(one.detected, PERCENT))
        for one in found
        if one.auroc is not None
    ]
    return markdown(pd.DataFrame(cells, columns=["attack", "among", "detector", "n", "AUROC", "detected"]))


def _under(one: Detected) -> tuple[str, str]:
    """The attack in words, and which pictures are looked at."""
    attack = str(get_attacker(one.attack).title)
    if one.eps is not None and one.attack != "none":
        attack += f", {one.eps:g}/255"
    return attack, "successful" if one.successful else "all"
