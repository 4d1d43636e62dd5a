"""Records of an evaluation (see ``summarise``) as Markdown, and those that come with the package."""

import json
from collections.abc import Iterable
from pathlib import Path

from purifier.classifiers import MODELS

EVALUATION = MODELS.parent / "evaluation"


def read_evaluations(folder: Path = EVALUATION) -> dict[str, list[dict]]:
    """The records of every stored run, by its name: ``folder/<name>/summary.json``."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))}


def together(runs: Iterable[list[dict]]) -> list[list[dict]]:
    """The records of runs of one classifier on one choice of pictures as if they were one run, each thing once."""
    groups: dict[tuple, dict] = {}
    for records in runs:
        images = max(r["n"] for r in records)
        group = groups.setdefault((records[0]["classifier"], images), {})
        group |= {(r["attack"], r["eps"], r["defence"]): r for r in records}
    return [sorted(group.values(), key=_order) for group in groups.values()]


def _order(record: dict) -> tuple:
    """Nobody, then attackers who do not know the defence, then those who do; each from small to large."""
    return record["attack"] != "none", record["threat"] == "adaptive", record["attack"], record["eps"] or 0


def table(records: list[dict]) -> str:
    """The records as Markdown: accuracy by defence under each attack, MDDA's lead, and what each defence costs."""
    return "\n".join([
        accuracy_table(records),
        "",
        "By how much MDDA's accuracy is ahead, on the same pictures:",
        "",
        _by_condition(records, "mdda_ahead_by"),
        "",
        "What each costs where nobody attacks: right answers that it breaks, melanomas read right before and benign",
        "after, and scores of melanoma against the rest; likeness to the picture; seconds a picture, and megabytes.",
        "",
        cost_table(records),
        "",
    ])  # fmt: skip


def run_title(records: list[dict]) -> str:
    """What a run measured, in a line."""
    threats = " and ".join(sorted({r["threat"] for r in records if r["attack"] != "none"}, reverse=True))
    return f"Classifier {records[0]['classifier']}, {max(r['n'] for r in records)} pictures, {threats} attackers"


def accuracy_table(records: list[dict]) -> str:
    """Accuracy by defence under each attack, and how it was measured."""
    classifier, draws = records[0]["classifier"], max(r["draws"] for r in records)
    return (
        f"Classifier `{classifier}`. Accuracy, the mean over {draws} draws of a defence that draws noise, with 95 %\n"
        "intervals over images. An oblivious attacker does not know the defence, an adaptive one does.\n\n"
        + _by_condition(records, "accuracy")
    )


def cost_table(records: list[dict]) -> str:
    """What the defences do where nobody attacks."""
    costs = ("broken", "melanoma_made_benign", "melanoma_sensitivity", "melanoma_specificity", "melanoma_auroc")
    return markdown(
        ["defence", *(cost.replace("_", " ") for cost in costs), "PSNR", "SSIM", "s", "MB"],
        [
            [
                r["defence"], *(_with_interval(r, cost) for cost in costs),
                "–" if r["psnr"] is None else f"{r['psnr']:.1f}", f"{r['ssim']:.3f}",
                f"{r['seconds_per_image']:.3f}", f"{r['peak_memory_mb']:.1f}",
            ]
            for r in records if r["attack"] == "none"
        ],
    )  # fmt: skip


def _by_condition(records: list[dict], score: str) -> str:
    """A row for each defence that has the score, a column for each attack and epsilon."""
    conditions = {(r["attack"], r["eps"]): _condition(r) for r in records}
    by_key = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    defences = dict.fromkeys(r["defence"] for r in records if r[score] is not None)
    body = [[d, *(_with_interval(by_key.get((*condition, d)), score) for condition in conditions)] for d in defences]
    return markdown(["defence", *conditions.values()], body)


def _condition(record: dict) -> str:
    if record["attack"] == "none":
        return f"nobody attacks, n = {record['n']}"
    eps = "" if record["eps"] is None else f" {record['eps']:g}/255"
    return f"{record['attack']}{eps}, {record['threat']}, n = {record['n']}"


def _with_interval(record: dict | None, score: str) -> str:
    if record is None or record[score] is None:
        return "–"
    return f"{record[score]:.3f} ({record[f'{score}_low']:.3f} to {record[f'{score}_high']:.3f})"


def purifier_text(settings: dict) -> str:
    """MDDA's settings, as they are stored with what was measured, in words."""
    scales = ", ".join(f"{scale:g}" for scale in settings["scales"])
    noise = f"sigma {255 * settings['sigma']:g}/255; weight {settings['weight']:g}"
    return f"scales {scales}; {settings['blocks']} blocks; {noise}; own {settings['own']:g}"


def markdown(header: list[str], body: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body))
