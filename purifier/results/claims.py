"""What was measured as an essay of claims. Whether each holds is computed from the records, and its words follow
them: a title says the claim, or what the records say instead.

Two shares are told apart where their 95 % intervals do not touch; MDDA and another defence, on the same pictures, by
the interval of their difference.
"""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from purifier.alarm import FALSE_ALARMS
from purifier.classifiers.classifier import DEFAULT
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.results.detection import Detected, among, evading
from purifier.results.plots import Dots
from purifier.results.record import ENOUGH, Record, at_their_best, find, pictures, pooled, strongest
from purifier.results.tables import side
from purifier.templates import Markup, say_html
from purifier.wording.language import say

UNAWARE = "pgd20"  # the attack without knowledge of the defence that was made on every choice of pictures
GREY = "grey20"  # the same in brightness alone, which leaves no noise in the colours
EPS = 2.0  # in 1/255, at which all classifiers were attacked
WIDTH = 30  # letters of a row's name
CHANCE = 0.5  # area under the ROC curve of what knows nothing


@dataclass(frozen=True)
class Case:
    """What a claim is made of: all records on one choice of pictures, the size of the attack on them, and what is kept
    ``at_equal_cost`` on the same pictures; or what was ``detected`` in a run of its own."""

    records: Sequence[Record]
    eps: float | None = EPS  # in 1/255; None on clean pictures
    at_equal_cost: Sequence[Record] = ()
    detected: Sequence[Detected] = ()

    @property
    def classifier(self) -> str:
        """The name of the one that was measured with."""
        return (*self.records, *self.detected)[0].classifier

    @property
    def title(self) -> str:
        """The same in every language."""
        return self.classifier if self.eps is None else f"{self.classifier}, {self.eps:g}/255"

    def of(self, attack: str, defence: str) -> Record | None:
        """The record of this attack on the defence, at the case's size."""
        return find(self.records, attack, None if attack == "none" else self.eps, defence)

    def by_defence(self, attack: str) -> dict[str, Record]:
        """The records of this attack at the defences' best settings: nothing, MDDA, then the others, the best first."""
        eps = None if attack == "none" else self.eps
        return _in_order(r for r in at_their_best(self.records) if (r.attack, r.eps) == (attack, eps))

    def at_their_most(self, attack: str) -> dict[str, Record]:
        """The same with each other family at that of its settings that leaves most of these pictures, of all that were
        run: which favours them."""
        found = [r for r in self.records if (r.attack, r.eps) == (attack, self.eps)]
        most = {r.family: r for r in sorted(found, key=lambda r: r.accuracy.value) if r.is_peer}
        return _in_order([r for r in found if r.defence in ("none", "mdda")] + list(most.values()))


def _in_order(found: Iterable[Record]) -> dict[str, Record]:
    ranked = sorted(found, key=lambda r: (r.defence != "none", r.defence != "mdda", -r.accuracy.value))
    return {r.defence: r for r in ranked}


@dataclass(frozen=True)
class Claim:
    """A claim in the language spoken: its title, what the records say, the figure, and what the figure shows."""

    title: str
    text: Markup
    dots: Dots
    caption: str


def helps(case: Case) -> Claim | None:
    """Whether MDDA leaves more read rightly than nothing does under an unaware attacker. None where the records lack
    what it takes."""
    clean, nothing, ours = case.of("none", "none"), case.of(UNAWARE, "none"), case.of(UNAWARE, "mdda")
    aware = {r.defence: r for r in strongest(case.records, case.eps)} if case.eps else {}
    if None in (clean, nothing, ours) or nothing.mdda_ahead_by is None or "mdda" not in aware:
        return None
    lead, bare = nothing.mdda_ahead_by, case.of(GREY, "none")
    leads = [r.mdda_ahead_by for r in (nothing, bare) if r is not None and r.mdda_ahead_by is not None]
    title = {
        1: say("It helps against an attacker who does not know it"),
        0: say("Whether it helps against an attacker who does not know it, these pictures cannot tell"),
        -1: say("It does harm, even against an attacker who does not know it"),
    }[min(map(side, leads))]
    text = say_html(
        "Of pictures that nobody attacked {clean} are read rightly. Someone who knows the classifier, but no defence, "
        "leaves {nothing}. Purified by MDDA it is <b>{ours}</b>: on the same pictures {lead:+.0f} points "
        "({low:+.0f} to {high:+.0f}).",
        clean=share(clean.accuracy),
        nothing=share(nothing.accuracy),
        ours=share(ours.accuracy),
        lead=100 * lead.value,
        low=100 * lead.low,
        high=100 * lead.high,
    )
    if len(leads) > 1:
        text += Markup(" ") + say_html(
            "If the attack changes brightness alone, {nothing} are left, and purified {ours}.",
            nothing=share(bare.accuracy),
            ours=share(case.of(GREY, "mdda").accuracy),
        )
    unaware = case.by_defence(UNAWARE)
    aware["none"] = nothing  # who attacks the bare classifier knows all that there is to know
    names = [name for name in unaware if name in aware and name in case.by_defence("none")]
    attackers = {
        say("nobody attacks"): case.by_defence("none"),
        say("the attacker does not know the defence"): unaware,
        say("the attacker knows the defence"): aware,
    }
    series = {title: {name: found[name] for name in names} for title, found in attackers.items()}
    shown = [r for found in series.values() for r in found.values()]
    knows = say(
        "Attack: PGD within {eps:g}/255; where the attacker knows the defence, the strongest attack that was tried, so "
        "that it leaves at most what is shown.",
        eps=case.eps,
    )
    dots = Dots(series=_accuracies(series), strong=say(ours.defence_title), label=say("read rightly, in per cent"))
    return Claim(title, text, dots, _caption(shown, knows))


def simpler(case: Case) -> Claim | None:
    """Whether other defences help too, and how MDDA stands beside them, under an unaware attacker."""
    nothing, ours = case.of(UNAWARE, "none"), case.of(UNAWARE, "mdda")
    found = case.at_their_most(UNAWARE)
    peers = {name: r for name, r in found.items() if r.is_peer and r.mdda_ahead_by is not None}
    if None in (nothing, ours) or nothing.mdda_ahead_by is None or not peers:
        return None
    helping = [r for r in peers.values() if above(r.accuracy, nothing.accuracy)]
    sides = {name: side(r.mdda_ahead_by) for name, r in peers.items()}
    ahead, level, behind = (sum(of == where for of in sides.values()) for where in (1, 0, -1))
    if not helping:
        title = say("No simpler defence was shown to help")
    elif ahead == len(peers):
        title = say("Simpler defences help less")
    elif side(nothing.mdda_ahead_by) == 1:
        title = say("So do simpler defences")
    else:
        title = say("Simpler defences help")
    best = max(peers.values(), key=lambda r: r.accuracy.value)
    text = say_html(
        "{helping} of {count} other defences leave more read rightly than doing nothing, which leaves {nothing}. MDDA "
        "leaves {ours}, the best of the others <b>{best_share}</b> ({best}). On the same pictures MDDA is ahead of "
        "{ahead} of them, behind {behind}, and {level} cannot be told from it.",
        helping=len(helping),
        count=len(peers),
        nothing=share(nothing.accuracy),
        ours=share(ours.accuracy),
        best=say(best.defence_title),
        best_share=share(best.accuracy),
        ahead=ahead,
        behind=behind,
        level=level,
    )
    parts = {
        say("not to be told from MDDA"): {name: r for name, r in peers.items() if sides[name] == 0},
        say("better than MDDA on the same pictures"): {name: r for name, r in peers.items() if sides[name] == -1},
        say("worse than MDDA on the same pictures"): {name: r for name, r in peers.items() if sides[name] == 1},
        say("nothing, and MDDA"): {name: found[name] for name in ("none", "mdda")},
    }
    knows = say(
        "Attack: PGD within {eps:g}/255; the attacker does not know the defence. Each other defence is in the setting, "
        "of those that were run, that leaves most here.",
        eps=case.eps,
    )
    dots = Dots(
        series=_accuracies(parts),
        rows=[say(r.defence_title) for name, r in found.items() if name in ("none", "mdda", *peers)],
        strong=say(ours.defence_title),
        label=say("read rightly, in per cent"),
        band=ours.accuracy,
    )
    return Claim(title, text + _at_equal_cost(case), dots, _caption(found.values(), knows))


def _at_equal_cost(case: Case) -> Markup:
    """How many other families MDDA is ahead of where all give up the same, for each limit; empty where that was not
    measured."""
    sides = sides_at_equal_cost(case.at_equal_cost, case.eps)
    if not sides:
        return Markup("")
    return Markup(" ") + say_html(
        "At equal cost, where {budgets} points on clean pictures may be given up and each is in any of its settings, "
        "MDDA is ahead of {ahead} of {count} and behind {behind}.",
        budgets=" / ".join(f"{budget:g}" for budget in sides),
        ahead=" / ".join(str(of.count(1)) for of in sides.values()),
        count=len(next(iter(sides.values()))),
        behind=" / ".join(str(of.count(-1)) for of in sides.values()),
    )


def sides_at_equal_cost(records: Iterable[Record], eps: float | None) -> dict[float, list[int]]:
    """By how many points may be given up, from few to many: on which ``side`` of each other family MDDA is under the
    unaware attack."""
    found: dict[float, list[int]] = {}
    for r in records:
        if (r.attack, r.eps) == (UNAWARE, eps) and r.is_peer and r.mdda_ahead_by is not None:
            found.setdefault(r.budget, []).append(side(r.mdda_ahead_by))
    return dict(sorted(found.items()))


def costs(case: Case) -> Claim | None:
    """Whether MDDA makes melanomas that were recognised read as benign, on clean pictures."""
    found = {name: r for name, r in case.by_defence("none").items() if r.melanoma_made_benign is not None}
    if not {"none", "mdda"} <= set(found) or found["mdda"].broken is None:
        return None
    nothing, ours = found["none"], found["mdda"]
    lost = {name: found[name].melanoma_made_benign for name in found}
    peers = sorted((name for name in found if found[name].is_peer), key=lambda name: lost[name].value)
    fewer = [name for name in peers if above(lost["mdda"], lost[name])]
    more = [name for name in peers if above(lost[name], lost["mdda"])]
    if above(nothing.melanoma_sensitivity, ours.melanoma_sensitivity):
        title = say("It costs melanomas")
    elif lost["mdda"].low > 0:
        title = say("It hides some melanomas that were recognised")
    else:
        title = say("Whether it costs melanomas, these pictures cannot tell")
    text = say_html(
        "Of the melanomas that are recognised on clean pictures, MDDA makes <b>{lost}</b> read as benign. The "
        "classifier then finds {after} of all melanomas, where it found {before}; of all right readings {broken} "
        "become wrong. Of {count} other defences {fewer} cost fewer melanomas beyond chance, and {more} cost more.",
        lost=share(ours.melanoma_made_benign),
        after=share(ours.melanoma_sensitivity),
        before=share(nothing.melanoma_sensitivity),
        broken=share(ours.broken),
        count=len(peers),
        fewer=len(fewer),
        more=len(more),
    )
    parts = {
        say("not to be told from MDDA"): [name for name in peers if name not in (*fewer, *more)],
        say("fewer than MDDA"): fewer,
        say("more than MDDA"): more,
        say("nothing, and MDDA"): ["none", "mdda"],
    }
    titles = {name: say(found[name].defence_title) for name in found}
    dots = Dots(
        series={part: {titles[name]: lost[name] for name in names} for part, names in parts.items()},
        rows=[titles[name] for name in ("none", "mdda", *peers)],
        strong=titles["mdda"],
        label=say("recognised melanomas made benign, in per cent"),
        band=lost["mdda"],
    )
    return Claim(title, text, dots, _caption(found.values(), say("Nobody attacks.")))


def defeated(case: Case) -> Claim | None:
    """Whether an attacker who knows MDDA leaves less read rightly than one who does not, and whether more than on the
    bare classifier and than by always giving the same answer, where that is known."""
    nothing, unaware = case.of(UNAWARE, "none"), case.of(UNAWARE, "mdda")
    hardest = {r.defence: r for r in strongest(case.records, case.eps)} if case.eps else {}
    if None in (nothing, unaware) or "mdda" not in hardest:
        return None
    aware = hardest.pop("mdda")
    title = {
        (True, False): say("An attacker who knows it defeats it"),
        (True, True): say("An attacker who knows it undoes much of it, but not all"),
        (False, True): say("It held against the attackers who know it that were tried"),
        (False, False): say("Whether an attacker who knows it defeats it, these pictures cannot tell"),
    }[fate(nothing, unaware, aware)]
    text = say_html(
        "Someone who attacks the classifier and does not know MDDA leaves {unaware} ({pgd}). The "
        "strongest attack that was tried by someone who knows it leaves <b>{aware}</b> ({attack}); without any defence "
        "it is {nothing}.",
        unaware=share(unaware.accuracy),
        pgd=say(unaware.attacker.title),
        aware=share(aware.accuracy),
        attack=say(aware.attacker.title),
        nothing=share(nothing.accuracy),
    )
    others = [r for r in hardest.values() if r.is_peer]
    if others:
        best = max(others, key=lambda r: r.accuracy.value)
        text += Markup(" ") + say_html(
            "Of {count} other defences, each attacked by someone who knows it, the best keeps {share} ({name}).",
            count=len(others),
            share=share(best.accuracy),
            name=say(best.defence_title),
        )
    on_ours = [r for r in case.records if r.defence == "mdda" and (r.clean or r.eps == case.eps)]
    on_ours.sort(key=lambda r: (not r.clean, r.adaptive, -r.accuracy.value))
    parts = {
        say("nobody attacks"): [r for r in on_ours if r.clean],
        say("the attacker does not know the defence"): [r for r in on_ours if not r.clean and not r.adaptive],
        say("the attacker knows the defence"): [r for r in on_ours if r.adaptive],
    }
    rows = [(name, {_attack(r): r.accuracy for r in found}) for name, found in parts.items()]
    bare = say("{attack}, no defence", attack=_attack(nothing))
    rows[1] = (rows[1][0], {_folded(bare): nothing.accuracy} | rows[1][1])
    dots = Dots(series=dict(rows), strong=_attack(aware), label=say("read rightly behind MDDA, in per cent"))
    knows = say("Attacks within {eps:g}/255; an attack leaves at most what is shown.", eps=case.eps)
    return Claim(title, text, dots, _caption([nothing, *on_ours], knows))


def noticed(case: Case) -> Claim | None:
    """Whether the alarm tells attacked pictures from clean ones, where the attacker does not know it and where one
    evades it."""
    plain = among(case.detected, UNAWARE, case.eps)
    if plain is None:
        return None
    shown = [d for d in case.detected if d.eps == case.eps and d.source is None and not d.successful]
    hardest = evading(case.detected, case.eps)
    if plain.auroc.low <= CHANCE:
        title = say("Whether it helps to see that a picture was attacked, these pictures cannot tell")
    elif hardest is None:
        title = say("It helps to see that a picture was attacked")
    elif hardest.auroc.low <= CHANCE:
        title = say("It helps to see that a picture was attacked, but not where the attacker knows the alarm")
    elif above(plain.auroc, hardest.auroc):
        title = say("It helps to see that a picture was attacked, less well where the attacker knows the alarm")
    else:
        title = say("It helps to see that a picture was attacked, even where the attacker knows the alarm")
    text = say_html(
        "Purification changes the reading of attacked pictures: the alarm goes by how much. It ranks pictures attacked "
        "at {eps:g}/255 above clean ones in <b>{ranked}</b> of pairs, where 50 % is chance. If {percent:.0f} % of "
        "clean pictures may be called attacked, it detects {detected} of the attacked ones.",
        eps=case.eps,
        percent=100 * FALSE_ALARMS,
        ranked=share(plain.auroc),
        detected=share(plain.detected),
    )
    if hardest is not None:
        text += Markup(" ") + say_html(
            "Of pictures whose attacker knows the alarm and evades it, it detects {detected}, and ranks them above "
            "clean ones in {ranked} of pairs.",
            detected=share(hardest.detected),
            ranked=share(hardest.auroc),
        )
    beside = among(case.detected, UNAWARE, case.eps, "squeezing")
    if beside is not None:
        text += Markup(" ") + say_html(
            "Feature squeezing, which uses simple filters in place of the purifier, detects {detected} of the attacked "
            "ones where the attacker evades neither.",
            detected=share(beside.detected),
        )
    parts = {say("the alarm"): "alarm", say("feature squeezing"): "squeezing"}
    dots = Dots(
        series={
            name: {_folded(say(d.attacker.title)): d.detected for d in shown if d.detector == detector}
            for name, detector in parts.items()
        },
        strong=_folded(say(plain.attacker.title)),
        label=say("attacked pictures detected, in per cent"),
    )
    knows = say(
        "Attacks within {eps:g}/255; what evades a detector was made by an attacker who knows it, all else by one who "
        "knows neither. Of clean pictures at most {percent:.0f} % are detected.",
        eps=case.eps,
        percent=100 * FALSE_ALARMS,
    )
    return Claim(title, text, dots, _caption(shown, knows))


CLAIMS: dict[str, Callable[[Case], Claim | None]] = {
    "helps": helps, "simpler": simpler, "costs": costs, "defeated": defeated, "noticed": noticed,
}  # fmt: skip


def cases(
    runs: Iterable[list[Record]], tradeoffs: Iterable[list[Record]] = (), detections: Iterable[list[Detected]] = ()
) -> dict[str, dict[str, Case]]:
    """For each claim the cases that it can be made of, by their titles: for each classifier and size of the attack the
    largest choice of pictures of at least ``ENOUGH``, of the alarm's those that somebody evaded before others. What is
    shown first comes first: the default classifier at ``EPS``."""
    at_equal_cost = {records[0].choice: records for records in tradeoffs}
    groups = [records for records in pooled(runs) if pictures(records) >= ENOUGH]
    every = [Case(records, eps, at_equal_cost.get(records[0].choice, ())) for records, eps in _sizes(groups)]
    every += [Case((), eps, detected=found) for found in detections for eps in dict.fromkeys(d.eps for d in found)]

    def order(case: Case) -> tuple:
        unevaded, count = evading(case.detected, case.eps) is None, pictures(case.detected or case.records)
        return case.classifier != DEFAULT, case.eps != EPS, case.title, unevaded, -count

    every.sort(key=order)
    found: dict[str, dict[str, Case]] = {name: {} for name in CLAIMS}
    for name, claim in CLAIMS.items():
        for case in every:
            if (case.eps is None) == (name == "costs") and claim(case) is not None:
                found[name].setdefault(case.title, case)
    return found


def _sizes(groups: Iterable[Sequence[Record]]) -> Iterator[tuple[Sequence[Record], float | None]]:
    """Each choice of pictures with each size of an attack on it, and with none."""
    for records in groups:
        for eps in dict.fromkeys(r.eps for r in records if r.clean or r.eps is not None):
            yield records, eps


def fate(nothing: Record, unaware: Record, aware: Record) -> tuple[bool, bool]:
    """Whether an attacker who knows a defence leaves less than one who does not, and whether the defence keeps more
    than the bare classifier does and than always giving the same answer would, where that is known."""
    return above(unaware.accuracy, aware.accuracy), keeps_more(aware, nothing)


def keeps_more(record: Record, nothing: Record) -> bool:
    """Whether more is left than on the bare classifier, and than by always giving the same answer."""
    return above(record.accuracy, nothing.accuracy) and record.accuracy.low > (nothing.constant_accuracy or 0)


def above(a: Score, b: Score) -> bool:
    """Whether ``a`` is more than ``b`` beyond chance: the intervals do not touch."""
    return a.low > b.high


def share(score: Score) -> Markup:
    """In per cent with its interval, on one line."""
    return Markup('<span class="lp-evidence-share">{}</span>').format(score.written(WHOLE_PERCENT))


def _accuracies(series: dict[str, dict[str, Record]]) -> dict[str, dict[str, Score]]:
    return {name: {say(r.defence_title): r.accuracy for r in found.values()} for name, found in series.items()}


def _attack(record: Record) -> str:
    return say("no attack") if record.clean else _folded(say(record.attacker.title))


def _folded(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _caption(shown: Iterable[Record | Detected], knows: str) -> str:
    """On how many pictures, over what the intervals are, how many draws, and what the attacker knows."""
    shown = list(shown)
    n, lesions, draws = pictures(shown), max(r.lesions for r in shown), max(r.draws or 1 for r in shown)
    constant = next((r.constant_accuracy for r in shown if isinstance(r, Record) and r.constant_accuracy), None)
    where = say("{n} held-out pictures of {lesions} lesions; lines: 95 % intervals over lesions", n=n, lesions=lesions)
    parts = [knows, say("{where}; mean of {draws} draws where a defence draws noise.", where=where, draws=draws)]
    if constant is not None:
        parts.append(say("Always giving the same answer would be right in {percent:.0f} %.", percent=100 * constant))
    return " ".join(parts)
