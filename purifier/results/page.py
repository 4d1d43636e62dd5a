"""docs/robustness.md, written from what is stored in assets/evaluation by ``purifier results --docs``."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from purifier.defences import FAMILIES
from purifier.evaluation.intervals import PERCENT, written
from purifier.figures import Figure, save_figure
from purifier.results.plots import plot_convergence, plot_epsilon
from purifier.results.record import ENOUGH, EVALUATION, Record, pictures, read_evaluations, strongest, together
from purifier.results.tables import markdown, overview, purifier_text, run_title, table, verdicts

ISIC_2019 = 25_331  # training images of the challenge
CORES_PER_GPU = (50, 200)  # between which a GPU's worth is taken to lie, until someone measures one
GPUS = (1, 8, 64)
INTRO = """# How robust is it?

Written by `purifier results --docs docs/robustness.md` from the runs stored in `assets/evaluation`; nothing here is
typed in by hand. The pictures are of lesions of ISIC 2019 (HAM10000 and MSK) that neither training nor tuning saw. An
**oblivious** attacker knows the classifier and not the defence; an **adaptive** one knows both. Every figure is the
share of pictures that are read rightly, with a 95 % interval; a defence that draws noise is drawn several times and
the figure is the mean. Some lesions have several pictures: tables that give the number of lesions have intervals over
these, the others (of earlier runs) over pictures, which makes them a little narrow. The choices are balanced over the
diagnoses as far as there are pictures; on pictures as they come, two thirds of which are nevi, accuracy is higher, and
so is that of always answering nevus. The choices overlap and are no independent evidence.

What the classifiers have seen favours some defences: `augmented` was trained on pictures purified by MDDA (with noise
of 4 to 10/255), by noise and ROF at one scale, and written as JPEG of quality 30 to 95, and never saw a median or a
Gaussian; `robust` began from an earlier `augmented` and was trained on attacked pictures. `standard` and `surrogate`
saw nothing of the kind. The settings of MDDA and of all peers were chosen on `augmented` and are used for all four.
"""
BESIDE_PEERS = """
Accuracy with its 95 % interval; a row has one choice of pictures. The adaptive attacker is PGD through the purifier,
averaged over its noise (EOT); where several efforts were made the strongest counts. The others might still be stronger:
read it as "at most".

MDDA beside its peers, each with the settings that the rule below chose, by the interval of the difference on the same
pictures (choices of 100 and more). With so many comparisons at 95 %, one in twenty would differ by chance:
"""
TUNING = """## Settings

    {command}

chose these on {images} validation pictures by one rule: of the settings whose worst accuracy (clean, PGD-20 at 2/255,
at 8/255; oblivious) is within one standard error of the best, measured again over fresh draws, the one that costs least
on clean pictures. The worst is nearly always that at 8/255; who fears 2/255 alone would choose weaker settings, of MDDA
and of its peers (see "At equal cost").
"""
SENSITIVITY = """
What each setting of MDDA does when the others stay as chosen, on the same validation pictures (one draw). `decay`
(noise and weight times scale to that power), `smooth` (a last Gaussian), scale 2 and `own = 1` (blocks that mix
nothing) are not part of the search.

![Accuracy on validation pictures against each setting of MDDA]({folder}/sensitivity.png)
"""
EQUAL_COST = """
## At equal cost on clean pictures

A defence that costs nothing keeps nothing, and one that keeps much costs much; so each family of defences is asked
what it keeps under attack (oblivious) for 2, 5 and 10 points of clean accuracy given up. Each may use the best of its
settings, doing nothing among them, or the best mixture of two, which is had by a coin for each picture. They are
chosen on the pictures that they are scored on, MDDA's and its peers' alike, so every figure is a little high, most of
all for those who have more settings: they stand in the tables further down. MDDA's are the tuned one, weaker ones in
proportion (`mdda6`: noise of 6/255), and those of one scale alone (`noisy-rof`, noise of 8/255). Its lead, by the
interval of the difference on the same pictures:
"""
WHY = """
## Why it is not ahead everywhere

Three things in the tables below explain where MDDA stands.

1. Against an attacker who does not know them, nearly all smoothing defences undo nearly all of the attack at 2/255:
   what a defence keeps is close to what it reads rightly on clean pictures. So its cost there decides; and at
   8/255, where weak smoothing no longer suffices, its strength.
2. JPEG has these pictures on its side: they came as JPEG files, those of HAM10000 of quality 75, and what compression
   takes had been taken before the classifier learnt from them. On those of MSK, which were compressed less, JPEG costs
   `standard` more, and MDDA at one scale (`noisy-rof0.03`) reads more of them rightly than JPEG does, attacked and
   not, though there are too few of them to be sure (the last table of each run).
3. Mixing scales blurs, and who has not learnt from blurred pictures pays for it: `standard` reads fewer pictures
   rightly after MDDA of two scales than after MDDA of one, attacked and not. `augmented` has learnt from pictures that
   MDDA purified. There one scale with little denoising is the better one at 2/255, and two scales with more noise and
   denoising, which the rule chose, at 8/255.

What was tried in its aggregation on validation pictures to keep its cost down, and did not help at the same strength:
coarse scales that correct only the shapes that they can show, shares of the scales in the last merge (`tilt`), and
noise and denoising that fall with the scale (`decay`, in the sensitivity plot). The setting to take against small
attacks is one scale: `Purifier(scales=(1,), sigma=8 / 255, weight=0.03)`.

Every setting of the peers and of MDDA at one scale on validation pictures of `standard`, which has learnt from no
purified picture (`{command}`):

![Accuracy under attack against clean accuracy, by defence and setting]({folder}/tradeoff-pgd-2.png)
"""
STRONGEST = """
## What the strongest attacker who knows leaves

At 2/255, of all attacks that were tried on a defence the one that left least, and its name: a defence is no stronger
than that. `eot` goes through the defence with its own gradient where it has one, `stand-in` with that of a
differentiable function like it (for JPEG, median and bilateral filter; for non-local means a coarse one, ROF);
without a stand-in, `eot` through these and through bit depth has the identity's gradient. The efforts differ, so
these are upper limits of different tightness, and a defence that keeps more here may only have been attacked less
well.
"""
KINDS = ("summary", "tradeoff", "sources")
TOGETHER = "together"  # the folder of plots of several runs
GRADIENT_FREE = ("bpda", "defended-square", "square", "transfer")  # kinds that do not use the defence's gradient
MASKING = """
## Were the attackers who know the defence strong enough?

A defence whose gradient is hidden only looks strong. So: do more steps and more samples of the noise still help, and do
attacks that do not use the defence's gradient (the identity's in its place: bpda; random search on the defended
classifier: defended-square; made on another network: transfer; made on the undefended classifier: pgd, square) do
better? JPEG, median, non-local means, bilateral filter and bit depth have no gradient of their own; `eot` through them
uses the identity's, and `stand-in` that of a differentiable function that does nearly what the defence does.
"""
PLOTS = {
    "tradeoff-*": "Accuracy under attack against clean accuracy, by defence and setting",
    "epsilon": "Accuracy against epsilon",
    "convergence": "Accuracy against the effort of the attacker",
    "accuracy": "Accuracy by defence",
}
TRADEOFF = """
Every setting that was tried, one draw, on the same validation pictures: what it keeps of the accuracy under attack, and
what it costs on clean pictures. At equal clean accuracy the higher defence is the better one.
"""
COST = """## What the whole of ISIC 2019 would cost

The attacks and defences of the runs above on all {images:,} training images, from the seconds an image that were
measured here with one thread of a CPU: {hours:,.0f} core-hours. No GPU was at hand. If one does the work of {low} to
{high} such cores (measure yours: `purifier evaluate --device cuda` on a hundred pictures, `seconds_per_image` in
`summary.json`), with `--engine ray` the hours would be:

"""


def write_robustness_page(page: Path, folder: Path = EVALUATION) -> None:
    """Write the page, and ``folder/together``: plots of runs of one classifier on one choice of pictures."""
    for name, figure in plots_together(together(read_evaluations(folder).values())):
        (folder / TOGETHER).mkdir(exist_ok=True)
        save_figure(figure, folder / TOGETHER / name, kinds=("png",))
    page.write_text(robustness_page(folder), encoding="utf-8")


def plots_together(groups: Sequence[list[Record]]) -> Iterator[tuple[str, Figure]]:
    """By name; of choices of pictures that were attacked by someone who knows the defence."""
    for records in groups:
        if any(r.adaptive for r in records):
            choice = f"{records[0].classifier}-{pictures(records)}"
            for kind, figure in (("epsilon", plot_epsilon(records)), ("convergence", plot_convergence(records))):
                if figure is not None:
                    yield f"{choice}-{kind}", figure


def robustness_page(folder: Path = EVALUATION, shown_as: str = "../assets/evaluation") -> str:
    """The page in Markdown; ``shown_as`` is how it reaches ``folder``."""
    runs, tradeoffs, sources = (read_evaluations(folder, kind) for kind in KINDS)
    groups = together(runs.values())
    parts = [INTRO, "## In short\n", markdown(overview(groups)), BESIDE_PEERS]
    parts += [line for records in groups for line in verdicts(records)]
    if tradeoffs:
        parts += [EQUAL_COST, *(line for records in tradeoffs.values() for line in verdicts(records))]
        command = (folder / "tuning-standard" / "command.txt").read_text(encoding="utf-8").strip()
        parts.append(WHY.format(command=command, folder=f"{shown_as}/tuning-standard"))
    if (folder / "tuning" / "best.json").exists():
        parts.append("\n" + tuning(folder / "tuning", f"{shown_as}/tuning"))
    known = strongest_table(groups)
    if known:
        parts += [STRONGEST, known]
    parts += [
        f"\n![{PLOTS[path.stem.split('-')[-1]]}]({shown_as}/{TOGETHER}/{path.name})"
        for path in sorted((folder / TOGETHER).glob("*-epsilon.png"))
    ]
    checks = [line for records in groups for line in masking(records)]
    if checks:
        parts += [MASKING, *checks]
    parts += [
        f"\n![{PLOTS['convergence']}]({shown_as}/{TOGETHER}/{path.name})"
        for path in sorted((folder / TOGETHER).glob("*-convergence.png"))
    ]
    for name, records in runs.items():
        parts.append(f"\n## {run_title(records)}\n")
        command = folder / name / "command.txt"
        if command.exists():
            parts.append(f"    {command.read_text(encoding='utf-8').strip()}\n")
        parts.append(table(records, tradeoffs.get(name, []), sources.get(name, [])))
        parts += [
            f"![{what}]({shown_as}/{name}/{path.name})\n"
            for plot, what in PLOTS.items()
            for path in sorted((folder / name).glob(f"{plot}.png"))
        ]
    parts.append(cost([record for records in groups for record in records]))
    return "\n".join(parts)


def strongest_table(groups: Sequence[list[Record]], eps: float = 2.0) -> str:
    """``strongest`` of each classifier on at least ``ENOUGH`` pictures, a column each; "" where there is none."""
    found = [strongest(records, eps) for records in groups if pictures(records) >= ENOUGH]
    columns = {
        f"`{records[0].classifier}`, {records[0].n} pictures": {
            r.defence: f"{written(r.accuracy, PERCENT)}, {r.attack}" for r in records
        }
        for records in found
        if records
    }
    return markdown(pd.DataFrame(columns).fillna("–").rename_axis("defence").reset_index()) if columns else ""


def masking(records: Sequence[Record]) -> list[str]:
    """Whether the attackers who know a defence were weak, or its gradient hidden (Athalye, Carlini & Wagner, 2018):
    more steps and samples must not help much, and attacks without its gradient must not do better than with it."""
    lines = []
    adaptive = [r for r in records if r.adaptive]
    for defence, eps in dict.fromkeys((r.defence, r.eps) for r in adaptive):
        on_it = [r for r in records if (r.defence, r.eps) == (defence, eps)]
        exact = sorted(of_kind(on_it, "eot"), key=effort)
        by_stand_in, checks = of_kind(on_it, "stand-in"), of_kind(on_it, *GRADIENT_FREE)
        others = of_kind(on_it, *GRADIENT_FREE, "pgd")  # which was made with no defence in view, and is no check
        if not exact or not (len(exact) > 1 or by_stand_in or checks):
            continue
        hardest = min([*exact, *by_stand_in], key=lambda r: r.accuracy.value)
        said = [f"`{defence}` at {eps:g}/255, {hardest.n} pictures: PGD through it leaves {percent(hardest)}."]
        if len(exact) > 1:
            path = ", ".join(f"{r.attacker.numbers} {percent(r)}" for r in exact)
            said.append(f"By steps x samples: {path}.")
        if by_stand_in:
            found = ", ".join(f"{r.attack} {percent(r)}" for r in by_stand_in)
            said.append(f"By the identity's gradient: {percent(exact[-1])}; by a stand-in's: {found}.")
        if others:
            better = [r for r in others if r.accuracy.value < hardest.accuracy.value]
            found = ", ".join(f"{r.attack} {percent(r)}" for r in others)
            verdict = "; none does better" if checks else ""
            if better:
                verdict = "; **better**: " + ", ".join(r.attack for r in better)
            said.append(f"Without its gradient: {found}{verdict}.")
        known = of_kind(on_it, "fixed")
        said += [f"Knowing the very noise ({r.attack}): {percent(r)}." for r in known]
        lines.append(f"- `{hardest.classifier}` behind {' '.join(said)}")
    return lines


def of_kind(records: Sequence[Record], *kinds: str) -> list[Record]:
    """The records of these kinds of attackers."""
    return [r for r in records if r.attacker.kind in kinds]


def effort(record: Record) -> tuple[int, int]:
    """By which ``eot`` attacks are sorted: the gradients that one takes, then its steps."""
    steps, samples = record.attacker.steps, record.attacker.samples
    return steps * samples, steps


def percent(record: Record) -> str:
    """A share as a percentage."""
    return record.accuracy.written("{percent:.1f} % ({from_percent:.0f} to {to_percent:.0f})")


def tuning(folder: Path, shown_as: str) -> str:
    """How the settings were chosen, from a stored search."""
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    conditions = list(next(iter(best.values()))["accuracy"])
    body = [
        [
            choice["defence"],
            purifier_text(choice["purifier"]) if "purifier" in choice else "by its number",
            str(choice["trials"]),
            *(f"{choice['accuracy'][c]:.3f}" for c in conditions),
        ]
        for choice in best.values()
    ]
    images = len(json.loads((folder / "settings.json").read_text(encoding="utf-8"))["images"])
    command = (folder / "command.txt").read_text(encoding="utf-8").strip()
    text = (
        TUNING.format(command=command, images=images)
        + "\n"
        + markdown(pd.DataFrame(body, columns=["defence", "settings", "tried", *conditions]))
        + "\n"
    )
    left_out = [f"{family}{FAMILIES[family].default:g}" for family in FAMILIES if family not in best]
    if left_out:
        text += (
            f"\nNot searched in this run: {', '.join(left_out)}, whose number stands from an earlier, smaller one.\n"
        )
    plots = [f"![{PLOTS['tradeoff-*']}]({shown_as}/{path.name})\n" for path in sorted(folder.glob("tradeoff-*.png"))]
    if plots:
        text += "\n".join([TRADEOFF, *plots])
    return text + (SENSITIVITY.format(folder=shown_as) if (folder / "sensitivity.png").exists() else "")


def cost(records: Sequence[Record]) -> str:
    """An attack that does not know the defence is made once for all of them."""
    attacks = {
        (r.classifier, r.attack, r.eps, r.defence if r.adaptive else None): r.attack_seconds_per_image for r in records
    }
    seconds = sum(attacks.values()) + sum(r.seconds_per_image * r.draws for r in records)
    hours = seconds * ISIC_2019 / 3600
    body = [[str(gpus), *(f"{hours / cores / gpus:,.1f}" for cores in CORES_PER_GPU)] for gpus in GPUS]
    header = ["GPUs", *(f"hours, if a GPU is worth {cores} cores" for cores in CORES_PER_GPU)]
    low, high = CORES_PER_GPU
    return (
        COST.format(images=ISIC_2019, hours=hours, low=low, high=high)
        + markdown(pd.DataFrame(body, columns=header))
        + "\n"
    )
