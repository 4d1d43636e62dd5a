"""One result: a classifier behind a defence under an attack, on one choice of pictures; and those that come with the
package, ``assets/evaluation/<run>/{summary,tradeoff,sources}.json``."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd

from purifier.defences import FAMILIES, OF_MDDA, split_name
from purifier.evaluation.attackers import Attacker, get_attacker
from purifier.evaluation.intervals import Score
from purifier.evaluation.settings import find_defence
from purifier.files import ASSETS

ENOUGH = 100  # pictures, below which next to nothing can be told from anything else
EVALUATION = ASSETS / "evaluation"

# Who knows a defence may do all that was tried, and takes for each picture what works.
ANY = Attacker(
    kind="any",
    name="any",
    words="the best of these attacks for each picture",
    attack=lambda how, task, x, y: x,
    adaptive=True,
    cost=0,
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What cannot be said is None. Shares are of pictures; scores are means over the draws, see ``summarise``."""

    classifier: str
    attacker: Attacker  # its kind, steps and samples, and what it knows
    eps: float | None  # in 1/255; None for attacks of no given size
    defence: str  # its full name, or that of a family of them (``settings``)
    family: str
    number: float | None = None
    defence_title: str = ""
    n: int  # pictures
    lesions: int  # theirs, which intervals are over
    draws: int | None = None  # of a defence that draws noise
    choice: str = ""  # what tells pictures, weights and purifier from those of other runs
    constant_accuracy: float | None = None  # of the constant answer that is right most often
    accuracy: Score
    balanced_accuracy: Score | None = None
    worst_of_draws: Score | None = None
    majority: Score | None = None
    melanoma_sensitivity: Score | None = None
    melanoma_specificity: Score | None = None
    melanoma_auroc: Score | None = None
    recovered: Score | None = None
    broken: Score | None = None
    melanoma_made_benign: Score | None = None
    mdda_ahead_by: Score | None = None
    psnr: float | None = None
    ssim: float | None = None
    linf: float | None = None
    l2: float | None = None
    l2_coarse: float | None = None
    seconds_per_image: float | None = None
    attack_seconds_per_image: float | None = None
    peak_memory_mb: float | None = None
    budget: float | None = None  # points of clean accuracy that may be given up, of ``tradeoff.py``
    settings: Sequence[str] | None = None  # defences of the family that it chooses from
    source: str | None = None  # the pictures', where one alone is looked at
    jpeg_quality: float | None = None  # mean of their files

    @property
    def attack(self) -> str:
        """The attacker's name; ``none`` on clean pictures."""
        return self.attacker.name

    @property
    def clean(self) -> bool:
        """Whether nobody attacked."""
        return self.attacker.kind == "none"

    @property
    def adaptive(self) -> bool:
        """Whether the attacker knows the defence."""
        return self.attacker.adaptive

    @property
    def condition(self) -> tuple:
        """What must be the same of records of one choice that are compared."""
        return self.attack, self.eps, self.budget, self.source

    @property
    def is_tuned(self) -> bool:
        """Whether the number is the one that tuning found, and there is no vote and no other setting."""
        default = FAMILIES[self.family].default if self.family in FAMILIES else None
        return self.number == default and not re.search(r":|x\d+$", self.defence)

    @property
    def is_peer(self) -> bool:
        """Whether the defence is another than MDDA with any settings (``OF_MDDA``), and not none."""
        return self.family not in ("none", *OF_MDDA)

    def row(self) -> dict:
        """All of it flat, of each score three columns: as it is stored and tabled."""
        found = {"attack": self.attack, "threat": self.attacker.threat, "attack_title": self.attacker.title}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in SCORES:
                ends = (None, None, None) if value is None else (value.value, value.low, value.high)
                found |= zip((field.name, f"{field.name}_low", f"{field.name}_high"), ends, strict=True)
            elif field.name != "attacker":
                found[field.name] = value
        return found

    @classmethod
    def read(cls, stored: dict) -> "Record":
        """From a ``row``, also from one of a version that stored less."""
        family, number, _ = split_name(stored["defence"])
        scores = {
            name: Score(value=stored[name], low=stored[f"{name}_low"], high=stored[f"{name}_high"])
            for name in SCORES
            if stored.get(name) is not None
        }
        plain = {f.name: stored[f.name] for f in fields(cls) if f.name in stored and f.name not in SCORES}
        return cls(**{"family": family, "number": number, **plain}, attacker=attacker_of(stored["attack"]), **scores)


SCORES = [field.name for field in fields(Record) if field.type in (Score, Score | None)]
OF_SOME = ("choice", "budget", "settings", "source", "jpeg_quality")  # columns that most records have nothing in


def attacker_of(name: str) -> Attacker:
    """By its name: ``ANY``, or one that can be asked for."""
    return ANY if name == ANY.name else get_attacker(name)


def write_records(records: Iterable[Record]) -> bytes:
    """As JSON."""
    stored = [{key: value for key, value in r.row().items() if value or key not in OF_SOME} for r in records]
    return (json.dumps(stored, indent=2, allow_nan=False) + "\n").encode()


def read_evaluations(folder: Path = EVALUATION, kind: str = "summary") -> dict[str, list[Record]]:
    """The records of every stored run, by its name. ``kind`` may be ``tradeoff`` (of ``tradeoff.py``) or ``sources``
    (by source of the pictures), which some runs have."""
    runs = {}
    for path in sorted(folder.glob(f"*/{kind}.json")):
        settings = json.loads((path.parent / "settings.json").read_text(encoding="utf-8"))
        told = json.dumps([settings[key] for key in ("images", "weights", "purifier")])
        about = {"classifier": settings["classifier"], "choice": hashlib.sha256(told.encode()).hexdigest()}
        records = [Record.read({**stored, **about}) for stored in json.loads(path.read_text(encoding="utf-8"))]
        if kind != "tradeoff":  # whose defences are families; a title that was stored cannot be said in any language
            records = [replace(r, defence_title=find_defence(r.defence).title) for r in records]
        runs[path.parent.name] = records
    return runs


def pooled(runs: Iterable[list[Record]]) -> list[list[Record]]:
    """The records of runs of one classifier on one choice of pictures as if they were one run, each thing once."""
    groups: dict[tuple, dict] = {}
    for records in runs:
        group = groups.setdefault((records[0].classifier, records[0].choice), {})
        for r in records:
            known = group.get(key := (r.condition, r.defence))
            if known is not None and r.attacker.kind == ANY.kind:  # of more attacks, or of better ones
                group[key] = min(known, r, key=lambda record: record.accuracy.value)
            elif known is None or (known.mdda_ahead_by is None and _says_more(r, known)):
                group[key] = r
    return [sorted(group.values(), key=_order) for group in groups.values()]


def _says_more(one: Record, other: Record) -> bool:
    """A run without MDDA says nothing of its lead; else that of more draws does, of as many the later one."""
    return one.mdda_ahead_by is not None or (one.draws or 1) >= (other.draws or 1)


def _order(record: Record) -> tuple:
    """Nobody, then attackers who do not know the defence, then those who do; each from small to large."""
    return not record.clean, record.adaptive, record.attack, record.eps or 0


def find(records: Iterable[Record], attack: str, eps: float | None, defence: str) -> Record | None:
    """The one of this attack and defence, if there is one."""
    return next((r for r in records if (r.attack, r.eps, r.defence) == (attack, eps, defence)), None)


def pictures(records: Iterable[Record]) -> int:
    """How many the choice has; some attacks are on fewer."""
    return max(r.n for r in records)


def at_their_best(records: Iterable[Record]) -> list[Record]:
    """Of each family the setting that tuning found, where it is among them; else all of that family's."""
    records = list(records)
    tuned = {r.family for r in records if r.is_tuned}
    return [r for r in records if r.is_tuned or r.family not in tuned]


def strongest(records: Iterable[Record], eps: float) -> list[Record]:
    """For every defence that was attacked at ``eps``/255 by someone who knows it, the record of the attack that left
    least, of all at that size: who knows a defence may also do what others do, but not know the noise that will be
    drawn. MDDA first."""
    among = [r for r in records if r.eps == eps and r.defence != "none" and not r.attacker.knows_noise]
    among = [r for r in among if r.n == pictures(among)]  # targeted attacks are on some pictures only
    known = dict.fromkeys(r.defence for r in among if r.adaptive)
    names = sorted(known, key=lambda name: name != "mdda")
    return [min((r for r in among if r.defence == name), key=lambda r: r.accuracy.value) for name in names]


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row each, to be tabled or plotted; scores are whole, see ``Score``."""
    return pd.DataFrame([{**vars(r), "attack": r.attack, "threat": r.attacker.threat} for r in records])
