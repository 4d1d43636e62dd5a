"""Records as tables: data frames of text, and Markdown of these."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from purifier.classifiers.classifier import DEFAULT
from purifier.evaluation.intervals import FRACTION, PERCENT, Score, written
from purifier.evaluation.settings import COARSE
from purifier.pipeline import Purifier
from purifier.results.record import ENOUGH, Record, at_their_best, find, frame, pictures
from purifier.wording.language import say

COSTS = ("broken", "melanoma_made_benign", "melanoma_sensitivity", "melanoma_specificity", "melanoma_auroc")


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table of cells that are text already."""
    rows = ([str(name) for name in table.columns], ["---"] * len(table.columns), *table.itertuples(index=False))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def table(records: Sequence[Record], at_equal_cost: Sequence[Record] = (), sources: Sequence[Record] = ()) -> str:
    """The records as Markdown: accuracy by defence under each attack, MDDA's lead, what each defence costs; and what
    is kept at equal cost and of each source, where a run has these."""
    parts = [
        accuracy_table(records),
        "Balanced accuracy: the mean of the diagnoses' recalls, whatever their number.",
        markdown(by_condition(records, "balanced_accuracy")),
    ]
    if any(r.mdda_ahead_by for r in records):
        lead = markdown(by_condition(records, "mdda_ahead_by"))
        parts += ["By how much MDDA's accuracy is ahead, on the same pictures:", lead]
    parts += [
        "What each costs on clean pictures: right answers that it breaks, melanomas read right before and benign\n"
        "after, scores of melanoma against the rest; likeness to the picture; seconds a picture, and megabytes.",
        cost_table(records),
        attack_table(records),
        at_equal_cost_table(at_equal_cost),
        sources_table(sources),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def run_title(records: Sequence[Record]) -> str:
    """What a run measured, in a line."""
    threats = {r.attacker.threat for r in records if not r.clean}
    attackers = {
        ("oblivious",): say("oblivious attackers"),
        ("adaptive",): say("adaptive attackers"),
        ("adaptive", "oblivious"): say("oblivious and adaptive attackers"),
    }.get(tuple(sorted(threats)), say("no attackers"))
    name = records[0].classifier
    return say(
        "Classifier {classifier}, {n} pictures, {attackers}", classifier=name, n=pictures(records), attackers=attackers
    )


def overview(groups: Iterable[Sequence[Record]], eps: float = 2.0) -> pd.DataFrame:
    """With and without MDDA, on clean pictures, under PGD by an attacker at ``eps``/255 who does not know it, and by
    one who does, beside the constant answer that is right most often: a row for each classifier and choice of at least
    ``ENOUGH`` pictures of ``pooled``, so that a row can be compared along it; the largest choice of a classifier
    first."""
    header = [
        say("classifier"),
        say("pictures"),
        say("majority class"),
        say("clean pictures"),
        say("clean pictures, MDDA"),
        say("oblivious, {eps:g}/255", eps=eps),
        say("oblivious, {eps:g}/255, MDDA", eps=eps),
        say("adaptive, {eps:g}/255, MDDA", eps=eps),
    ]
    rows = []
    for records in groups:
        if pictures(records) < ENOUGH:
            continue
        conditions = (("none", None, "none"), ("none", None, "mdda"), ("pgd20", eps, "none"), ("pgd20", eps, "mdda"))
        columns = [find(records, *condition) for condition in conditions]
        knowing = [r for r in records if (r.defence, r.eps, r.attacker.kind) == ("mdda", eps, "eot")]
        columns.append(min(knowing, key=lambda r: r.accuracy.value, default=None))
        constant = next((r.constant_accuracy for r in records if r.constant_accuracy is not None), None)
        always = "–" if constant is None else f"{100 * constant:.1f} %"
        shares = [written(r and r.accuracy, PERCENT) for r in columns]
        rows.append([f"`{records[0].classifier}`", str(pictures(records)), always, *shares])
    rows.sort(key=lambda row: (row[0] != f"`{DEFAULT}`", row[0], -int(row[1])))
    return pd.DataFrame(rows, columns=header)


def accuracy_table(records: Sequence[Record]) -> str:
    """Accuracy by defence under each attack, and how it was measured."""
    known = next((r for r in records if r.lesions is not None), None)
    over, constant = "images", ""
    if known is not None:
        over = f"the images' {known.lesions} lesions"
        constant = f" The best constant answer is right in {known.constant_accuracy:.3f}."
    return (
        f"Classifier `{records[0].classifier}`. Accuracy, the mean over {max(r.draws for r in records)} draws of a "
        f"defence that draws noise, with 95 %\nintervals over {over}.{constant} An oblivious attacker does not know "
        "the defence,\nan adaptive one does.\n\n" + markdown(by_condition(records, "accuracy"))
    )


def cost_table(records: Sequence[Record]) -> str:
    """What the defences do on clean pictures."""
    rows = frame(r for r in records if r.clean)
    found = rows[["defence"]].join(rows[list(COSTS)].map(written).rename(columns=lambda name: name.replace("_", " ")))
    found["PSNR"] = ["–" if pd.isna(value) else f"{value:.1f}" for value in rows.psnr]
    found["SSIM"] = rows.ssim.map("{:.3f}".format)
    found["s"] = rows.seconds_per_image.map("{:.3f}".format)
    found["MB"] = rows.peak_memory_mb.map("{:.1f}".format)
    return markdown(found)


def attack_table(records: Sequence[Record]) -> str:
    """Attacks that do not know the defence, where there are several: how large, how coarse, and what MDDA leaves."""
    attacks = [r for r in records if r.defence == "none" and not r.clean]
    if len({r.attack for r in attacks}) < 2:
        return ""
    body = pd.DataFrame(
        {
            "attack": r.attack,
            "epsilon": "–" if r.eps is None else f"{r.eps:g}/255",
            "L2 norm": f"{r.l2:.2f}",
            "coarse part": f"{100 * r.l2_coarse / r.l2:.0f} %",
            "its L2 norm": f"{r.l2_coarse:.2f}",
            "accuracy, no defence": written(r.accuracy),
            "accuracy, MDDA": written((ours := find(records, r.attack, r.eps, "mdda")) and ours.accuracy),
        }
        for r in attacks
    )
    return (
        f"The attacks: how long they are, and how much of that lies below {COARSE} cycles a picture (shapes of 8 "
        f"pixels and\nmore), which no smoothing takes away without taking the lesion's own shapes.\n\n{markdown(body)}"
    )


def verdicts(records: Sequence[Record], titles: bool = False) -> list[str]:
    """Where MDDA is ahead of its peers, each at its best setting, where it is behind, and where the pictures cannot
    tell: by the interval of the difference on the same pictures, at least ``ENOUGH``; also of records at equal cost.
    ``titles``: attacks and defences by their titles. Attacks through the defence are not the same for all, see
    ``strongest``."""
    lines = []
    for condition in dict.fromkeys(r.condition for r in records if not r.adaptive):
        among = [r for r in records if r.condition == condition]
        ours = next((r for r in among if r.defence == "mdda"), None)
        peers = [r for r in at_their_best(among) if r.is_peer and r.mdda_ahead_by is not None]
        if ours is None or not peers or ours.n < ENOUGH:
            continue
        ahead, behind, level = ([r for r in peers if side(r.mdda_ahead_by) == where] for where in (1, -1, 0))
        found = []
        if ahead:
            found.append(say("**ahead of** {names}", names=_leads(ahead, titles)))
        if behind:
            found.append(say("**behind** {names}", names=_leads(behind, titles)))
        if level:
            found.append(say("**not significantly different from** {names}", names=_leads(level, titles)))
        text = say(
            "`{classifier}`, {condition}, {n} pictures: MDDA {percent:.1f} %. It is {found} (points of accuracy on the "
            "same pictures).",
            classifier=ours.classifier,
            condition=_attacked_by(ours, titles),
            n=ours.n,
            percent=100 * ours.accuracy.value,
            found="; ".join(found),
        )
        lines.append(f"- {text}")
    return lines


def side(lead: Score) -> int:
    """1 where it is above 0 by its interval, -1 where it is below, 0 where that cannot be told."""
    return (lead.low > 0) - (lead.high < 0)


def _attacked_by(record: Record, titles: bool) -> str:
    """The attack, what its attacker knows, and its size, in words."""
    if record.clean:
        return say("clean pictures")
    attack = say(record.attacker.title) if titles else record.attack
    if record.adaptive:
        text = say("{attack}, adaptive attacker", attack=attack)
    else:
        text = say("{attack}, oblivious attacker", attack=attack)
    if record.eps is not None:
        text = say("{condition} at {eps:g}/255", condition=text, eps=record.eps)
    if record.budget is not None:
        text = say("{condition}, giving up at most {budget:g} points", condition=text, budget=record.budget)
    return text


def _leads(records: Sequence[Record], titles: bool) -> str:
    names = [say(r.defence_title) if titles else r.defence for r in records]
    return ", ".join(f"{n} ({100 * r.mdda_ahead_by.value:+.1f})" for n, r in zip(names, records, strict=True))


def by_condition(
    records: Sequence[Record], score: str, named: Callable[[Record], str] | None = None, form: str = FRACTION
) -> pd.DataFrame:
    """A row for each defence that has the score, a column for each condition."""
    named = named or condition_title
    rows = frame(records).assign(condition=[named(r) for r in records])
    cells = rows[rows[score].notna()].pivot_table(score, "defence", "condition", aggfunc="first", sort=False)
    cells = cells.reindex(columns=rows.condition.unique()).map(lambda score: written(score, form))
    return cells.reset_index()


def condition_title(record: Record) -> str:
    """The attack with its size, what its attacker knows, and on how many pictures."""
    source = "" if record.source is None else f"{record.source}, "
    if record.clean:
        return f"{source}clean pictures, n = {record.n}"
    eps = "" if record.eps is None else f" {record.eps:g}/255"
    return f"{source}{record.attack}{eps}, {record.attacker.threat}, n = {record.n}"


def at_equal_cost_table(records: Sequence[Record]) -> str:
    """What each family keeps for points of clean accuracy given up, of ``tradeoff.py``'s records; "" of none."""
    if not records:
        return ""
    found = by_condition(
        records, "accuracy", lambda r: f"{r.attack} {r.eps:g}/255, at most {r.budget:g} points given up"
    )
    settings = {r.defence: ", ".join(r.settings) for r in records}
    found.insert(1, "settings", found.defence.map(settings))
    return (
        "At equal cost: accuracy under an attack whose attacker does not know the defence, with the best of a\n"
        "family's settings, doing nothing among them, or the best mixture of two, that gives up at most so many\n"
        f"points of accuracy on clean pictures. {records[0].n} pictures.\n\n"
        + markdown(found.rename(columns={"defence": "family"}))
    )


def sources_table(records: Sequence[Record]) -> str:
    """Accuracy by defence and source of the pictures, of ``summary.by_source``'s records; "" of none."""
    if not records:
        return ""
    qualities = {r.source: r.jpeg_quality for r in records if r.jpeg_quality is not None}
    files = " and ".join(f"{name}'s were of quality {quality:.0f}" for name, quality in qualities.items())
    came = f" They came as JPEG files: {files}, on average." if files else ""
    found = markdown(by_condition(records, "accuracy"))
    return f"The same accuracy by where the pictures come from.{came}\n\n{found}"


def purifier_text(settings: dict) -> str:
    """MDDA's settings, as they are stored with what was measured, in words."""
    purifier = Purifier.read(settings)
    scales = ", ".join(f"{scale:g}" for scale in purifier.scales)
    denoiser = f"weight {purifier.weight:g}" if purifier.denoiser == "rof" else f"{purifier.denoiser} denoiser"
    bands = "; coarser scales' low frequencies only" if purifier.bands else ""
    by_picture = f" and {purifier.gain:g} times the picture's own noise" if purifier.gain else ""
    noise = f"sigma {255 * purifier.sigma:g}/255{by_picture}; {denoiser}"
    return f"scales {scales}; {purifier.blocks} blocks; {noise}; own {purifier.own:g}{bands}"
