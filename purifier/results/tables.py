"""Records as tables: data frames of text, and Markdown of these."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from purifier.classifiers.classifier import DEFAULT
from purifier.evaluation.intervals import FRACTION, PERCENT, Score, written
from purifier.evaluation.settings import COARSE
from purifier.pipeline import MOST_NOISE, USUAL_NOISE, Purifier
from purifier.results.record import ENOUGH, Record, find, frame, pictures, strongest
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


def overview(groups: Iterable[Sequence[Record]], eps: float = 2.0) -> pd.DataFrame:
    """With and without MDDA, on clean pictures, under PGD by an attacker at ``eps``/255 who does not know it, and under
    the strongest attack by one who does, beside the constant answer that is right most often: a row for each classifier
    and choice of at least ``ENOUGH`` pictures of ``pooled``, so that a row can be compared along it; the largest choice
    of a classifier first."""
    header = [
        "classifier",
        "pictures",
        "majority class",
        "clean pictures",
        "clean pictures, MDDA",
        f"oblivious, {eps:g}/255",
        f"oblivious, {eps:g}/255, MDDA",
        f"adaptive, {eps:g}/255, MDDA",
    ]
    rows = []
    for records in groups:
        if pictures(records) < ENOUGH:
            continue
        conditions = (("none", None, "none"), ("none", None, "mdda"), ("pgd20", eps, "none"), ("pgd20", eps, "mdda"))
        columns = [find(records, *condition) for condition in conditions]
        columns.append(next((r for r in strongest(records, eps) if r.defence == "mdda"), None))
        constant = next((r.constant_accuracy for r in records if r.constant_accuracy is not None), None)
        always = "–" if constant is None else f"{100 * constant:.1f} %"
        rows.append([f"`{records[0].classifier}`", str(pictures(records)), always, *map(mark, columns)])
    rows.sort(key=lambda row: (row[0] != f"`{DEFAULT}`", row[0], -int(row[1])))
    return pd.DataFrame(rows, columns=header)


def mark(record: Record | None) -> str:
    """The accuracy in per cent."""
    return "–" if record is None else record.accuracy.written(PERCENT)


def every_record(runs: Iterable[Iterable[Record]]) -> pd.DataFrame:
    """The accuracies of all runs, a row each, as anyone reads them and in the language spoken; shares in per cent. What
    does not apply is NaN."""
    rows = [
        (
            r.classifier,
            r.n,
            _with_budget(r),
            say("nobody") if r.clean else say(r.attacker.title),
            "–" if r.clean else say("yes") if r.adaptive else say("no"),
            r.eps,
            round(100 * r.accuracy.value, 1),
            r.accuracy.written("{from_percent:.0f}–{to_percent:.0f}"),
            r.draws,
        )
        for records in runs
        for r in records
    ]
    columns = [
        say("classifier"),
        say("pictures"),
        say("defence"),
        say("attacker"),
        say("knows the defence?"),
        say("epsilon, in 1/255"),
        say("read rightly, %"),
        say("95 % interval"),
        say("draws"),
    ]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def _with_budget(record: Record) -> str:
    """The defence, and what it may cost."""
    name = say(record.defence_title)
    if record.budget is None:
        return name
    return say("{defence}, giving up at most {budget:g} points", defence=name, budget=record.budget)


def accuracy_table(records: Sequence[Record]) -> str:
    """Accuracy by defence under each attack, and how it was measured."""
    first = records[0]
    return (
        f"Classifier `{first.classifier}`. Accuracy, the mean over {max(r.draws for r in records)} draws of a "
        f"defence that draws noise, with 95 %\nintervals over the images' {first.lesions} lesions. The best constant "
        f"answer is right in {first.constant_accuracy:.3f}. An oblivious attacker does not know "
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


def in_points(lead: Score) -> tuple[str, str]:
    """A difference in points of accuracy, ``+5.8``, and its interval, ``+1 to +10``."""
    return f"{100 * lead.value:+.1f}", f"{100 * lead.low:+.0f} to {100 * lead.high:+.0f}"


def side(lead: Score) -> int:
    """1 where it is above 0 by its interval, -1 where it is below, 0 where that cannot be told."""
    return (lead.low > 0) - (lead.high < 0)


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
    by_picture = (
        f" and {purifier.gain:g} times what the picture has beyond {255 * USUAL_NOISE:g}/255, at most "
        f"{255 * MOST_NOISE:g}/255 in all"
        if purifier.gain
        else ""
    )
    noise = f"sigma {255 * purifier.sigma:g}/255{by_picture}; {denoiser}"
    tilt = f"; tilt {purifier.tilt:g}" if purifier.tilt else ""
    return f"scales {scales}; {purifier.blocks} blocks; {noise}; own {purifier.own:g}{tilt}{bands}"
