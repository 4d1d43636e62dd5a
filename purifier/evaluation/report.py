"""docs/robustness.md, written from what is stored in assets/evaluation by ``purifier report --docs``."""

import json
from collections.abc import Sequence
from pathlib import Path

from purifier.evaluation.tables import EVALUATION, markdown, purifier_text, read_evaluations, run_title, table, together

ISIC_2019 = 25_331  # training images of the challenge
CORES_PER_GPU = (50, 200)  # between which a GPU's worth is taken to lie, until someone measures one
GPUS = (1, 8, 64)
INTRO = """# How robust is it?

Written by `purifier report --docs docs/robustness.md` from the runs stored in `assets/evaluation`; nothing here is
typed in by hand. The pictures are lesions of ISIC 2019 (HAM10000 and MSK) that neither training nor tuning saw. An
**oblivious** attacker knows the classifier and not the defence; an **adaptive** one knows both. Every figure is the
share of pictures that are read rightly, with a 95 % interval over pictures; a defence that draws noise is drawn
several times and the figure is the mean. Accuracy on class-balanced choices is lower than on pictures as they come,
most of which are nevi.
"""
TUNING = """## Settings

`purifier tune --data ISIC2019 --per-class 30 --out DIR` chose these on validation lesions by one rule: of the settings
whose worst accuracy (clean, PGD-20 at 2/255, at 8/255; oblivious) is within one standard error of the best, measured
again over fresh draws, the one that costs least on clean pictures. {images} pictures, up to 30 of each diagnosis.
"""
SENSITIVITY = """
What each setting of MDDA does when the others stay as chosen, on the same validation pictures (one draw). `decay`
(noise and weight times scale to that power), `tilt` (shares of scale to that power in the last merge), `smooth` and
`own = 1` (blocks that mix nothing) are not part of the search.

![Accuracy on validation pictures against each setting of MDDA]({folder}/sensitivity.png)
"""
COST = """## What the whole of ISIC 2019 would cost

The attacks and defences of the runs above on all {images:,} training images, from the seconds an image that were
measured here with one thread of a CPU: {hours:,.0f} core-hours. No GPU was at hand. If one does the work of {low} to
{high} such cores (measure yours: `purifier evaluate --device cuda` on a hundred pictures, `seconds_per_image` in
`summary.json`), with `--engine ray` the hours would be:

"""


def robustness_page(folder: Path = EVALUATION, shown_as: str = "../assets/evaluation") -> str:
    """The page in Markdown; ``shown_as`` is how it reaches ``folder``."""
    runs = read_evaluations(folder)
    parts = [INTRO, "## In short\n", *(line for records in together(runs.values()) for line in verdicts(records))]
    if (folder / "tuning" / "best.json").exists():
        parts.append("\n" + tuning(folder / "tuning", f"{shown_as}/tuning"))
    for name, records in runs.items():
        parts.append(f"\n## {run_title(records)}\n")
        command = folder / name / "command.txt"
        if command.exists():
            parts.append(f"    {command.read_text().strip()}\n")
        parts.append(table(records))
        for plot, what in (("epsilon", "Accuracy against epsilon"), ("accuracy", "Accuracy by defence"),
                           ("convergence", "Accuracy against the effort of the attacker")):  # fmt: skip
            if (folder / name / f"{plot}.png").exists():
                parts.append(f"![{what}]({shown_as}/{name}/{plot}.png)\n")
    parts.append(cost([record for records in together(runs.values()) for record in records]))
    return "\n".join(parts)


def verdicts(records: Sequence[dict]) -> list[str]:
    """Where MDDA is ahead of its peers, where it is behind, and where the pictures cannot tell: by the interval of the
    difference on the same pictures."""
    lines = []
    for key in dict.fromkeys((r["attack"], r["eps"]) for r in records):
        among = [r for r in records if (r["attack"], r["eps"]) == key]
        ours = next((r for r in among if r["defence"] == "mdda"), None)
        peers = [r for r in among if r["defence"] not in ("none", "mdda") and r["mdda_ahead_by"] is not None]
        if ours is None or not peers:
            continue
        groups = {
            "ahead of": [r for r in peers if r["mdda_ahead_by_low"] > 0],
            "behind": [r for r in peers if r["mdda_ahead_by_high"] < 0],
        }
        groups["not to be told from"] = [r for r in peers if r not in groups["ahead of"] + groups["behind"]]
        said = "; ".join(
            f"**{verb}** {', '.join(map(lead, found))}"
            for verb, found in groups.items() if found
        )  # fmt: skip
        condition = "nobody attacks" if key[0] == "none" else f"{key[0]}, {ours['threat']} attacker"
        size = "" if key[1] is None else f" at {key[1]:g}/255"
        lines.append(
            f"- `{ours['classifier']}`, {condition}{size}, {ours['n']} pictures: MDDA {100 * ours['accuracy']:.1f} %. "
            f"It is {said} (points of accuracy on the same pictures)."
        )
    return lines


def lead(record: dict) -> str:
    return f"{record['defence']} ({100 * record['mdda_ahead_by']:+.1f})"


def tuning(folder: Path, shown_as: str) -> str:
    best = json.loads((folder / "best.json").read_text())
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
    images = len(json.loads((folder / "settings.json").read_text())["images"])
    text = TUNING.format(images=images) + "\n" + markdown(["defence", "settings", "tried", *conditions], body) + "\n"
    return text + (SENSITIVITY.format(folder=shown_as) if (folder / "sensitivity.png").exists() else "")


def cost(records: Sequence[dict]) -> str:
    """An attack that does not know the defence is made once for all of them."""
    attacks = {
        (r["classifier"], r["attack"], r["eps"], r["defence"] if r["threat"] == "adaptive" else None):
        r["attack_seconds_per_image"] for r in records
    }  # fmt: skip
    seconds = sum(attacks.values()) + sum(r["seconds_per_image"] * r["draws"] for r in records)
    hours = seconds * ISIC_2019 / 3600
    body = [[str(gpus), *(f"{hours / cores / gpus:,.1f}" for cores in CORES_PER_GPU)] for gpus in GPUS]
    header = ["GPUs", *(f"hours, if a GPU is worth {cores} cores" for cores in CORES_PER_GPU)]
    low, high = CORES_PER_GPU
    return COST.format(images=ISIC_2019, hours=hours, low=low, high=high) + markdown(header, body) + "\n"
