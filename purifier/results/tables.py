"""Records of an evaluation (see ``summarise``) as Markdown, and those that come with the package."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from purifier.classifiers.classifier import DEFAULT
from purifier.defences import at_their_best, is_peer
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.settings import COARSE, find_defence
from purifier.files import ASSETS
from purifier.wording.language import say

ENOUGH = 100  # pictures, below which next to nothing can be told from anything else
EVALUATION = ASSETS / "evaluation"


def read_evaluations(folder: Path = EVALUATION) -> dict[str, list[dict]]:
    """The records of every stored run, by its name: ``folder/<name>/summary.json``. Each is given as its ``choice``
    what tells the pictures, weights and purifier from those of other runs."""
    runs = {}
    for path in sorted(folder.glob("*/summary.json")):
        settings = json.loads((path.parent / "settings.json").read_text(encoding="utf-8"))
        told = json.dumps([settings[key] for key in ("images", "weights", "purifier")])
        choice = hashlib.sha256(told.encode()).hexdigest()
        runs[path.parent.name] = [
            {**_titled(record), "defence_title": find_defence(record["defence"]).title, "choice": choice}
            for record in json.loads(path.read_text(encoding="utf-8"))
        ]
    return runs


def read_tradeoffs(folder: Path = EVALUATION) -> dict[str, list[dict]]:
    """What ``tradeoff.py`` found in the stored runs that have it, by the run's name."""
    return {run: list(map(_titled, records)) for run, records in _stored(folder, "tradeoff").items()}


def read_sources(folder: Path = EVALUATION) -> dict[str, list[dict]]:
    """The records by source of the pictures of the stored runs that have them, by the run's name."""
    return _stored(folder, "sources")


def _titled(record: dict) -> dict:
    """With its attack's title as a text that can be said in any language, and not as it was stored."""
    return {**record, "attack_title": get_attacker(record["attack"]).title}


def _stored(folder: Path, kind: str) -> dict[str, list[dict]]:
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{kind}.json"))
    }


def together(runs: Iterable[list[dict]]) -> list[list[dict]]:
    """The records of runs of one classifier on one choice of pictures as if they were one run, each thing once."""
    groups: dict[tuple, dict] = {}
    for records in runs:
        choice = records[0].get("choice", _images(records))
        group = groups.setdefault((records[0]["classifier"], choice), {})
        for r in records:
            known = group.get(key := (r["attack"], r["eps"], r["defence"]))
            if known is None or known["mdda_ahead_by"] is None:  # a run without MDDA says nothing of its lead
                group[key] = r
    return [sorted(group.values(), key=_order) for group in groups.values()]


def _order(record: dict) -> tuple:
    """Nobody, then attackers who do not know the defence, then those who do; each from small to large."""
    return record["attack"] != "none", record["threat"] == "adaptive", record["attack"], record["eps"] or 0


def table(records: list[dict]) -> str:
    """The records as Markdown: accuracy by defence under each attack, MDDA's lead, and what each defence costs."""
    lead = [
        "By how much MDDA's accuracy is ahead, on the same pictures:",
        "",
        _by_condition(records, "mdda_ahead_by"),
        "",
    ]
    if all(r["mdda_ahead_by"] is None for r in records):
        lead = []
    return "\n".join(
        [
            accuracy_table(records),
            "",
            "Balanced accuracy: the mean of the diagnoses' recalls, whatever their number.",
            "",
            _by_condition(records, "balanced_accuracy"),
            "",
            *lead,
            "What each costs on clean pictures: right answers that it breaks, melanomas read right before and benign",
            "after, scores of melanoma against the rest; likeness to the picture; seconds a picture, and megabytes.",
            "",
            cost_table(records),
            "",
            *attack_table(records),
        ]
    )


def run_title(records: list[dict]) -> str:
    """What a run measured, in a line."""
    threats = {r["threat"] for r in records if r["attack"] != "none"}
    attackers = {
        ("oblivious",): say("oblivious attackers"),
        ("adaptive",): say("adaptive attackers"),
        ("adaptive", "oblivious"): say("oblivious and adaptive attackers"),
    }.get(tuple(sorted(threats)), say("no attackers"))
    name = records[0]["classifier"]
    return say(
        "Classifier {classifier}, {n} pictures, {attackers}", classifier=name, n=_images(records), attackers=attackers
    )


def overview(groups: Iterable[list[dict]], eps: float = 2.0) -> tuple[list[str], list[list[str]]]:
    """With and without MDDA, on clean pictures, under PGD by an attacker at ``eps``/255 who does not know it, and by
    one who does, beside the constant answer that is right most often: a row for each classifier and choice of at least
    ``ENOUGH`` pictures of ``together``, so that a row can be compared along it. The header, and the rows; the largest
    choice of a classifier first."""
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
        if _images(records) < ENOUGH:
            continue
        found = {(r["attack"], r["eps"], r["defence"]): r for r in records}
        columns = [
            found.get(key)
            for key in (("none", None, "none"), ("none", None, "mdda"), ("pgd20", eps, "none"), ("pgd20", eps, "mdda"))
        ]
        through = [r for r in records if (r["defence"], r["eps"]) == ("mdda", eps)]
        knowing = [r for r in through if get_attacker(r["attack"]).kind == "eot"]
        columns.append(min(knowing, key=lambda r: r["accuracy"], default=None))
        name = f"`{records[0]['classifier']}`"
        constant = next((r["constant_accuracy"] for r in records if "constant_accuracy" in r), None)
        always = "–" if constant is None else f"{100 * constant:.1f} %"
        rows.append([name, str(_images(records)), always, *map(_percent, columns)])
    return header, sorted(rows, key=lambda row: (row[0] != f"`{DEFAULT}`", row[0], -int(row[1])))


def _images(records: list[dict]) -> int:
    return max(r["n"] for r in records)


def _percent(record: dict | None) -> str:
    if record is None:
        return "–"
    value, low, high = (100 * record[f"accuracy{end}"] for end in ("", "_low", "_high"))
    return f"{value:.1f} % ({low:.0f}–{high:.0f})"


def accuracy_table(records: list[dict]) -> str:
    """Accuracy by defence under each attack, and how it was measured."""
    classifier, draws = records[0]["classifier"], max(r["draws"] for r in records)
    known = next((r for r in records if "lesions" in r), None)
    over, constant = "images", ""
    if known is not None:
        over = f"the images' {known['lesions']} lesions"
        constant = f" The best constant answer is right in {known['constant_accuracy']:.3f}."
    return (
        f"Classifier `{classifier}`. Accuracy, the mean over {draws} draws of a defence that draws noise, with 95 %\n"
        f"intervals over {over}.{constant} An oblivious attacker does not know the defence,\nan adaptive one does.\n\n"
        + _by_condition(records, "accuracy")
    )


def cost_table(records: list[dict]) -> str:
    """What the defences do on clean pictures."""
    costs = ("broken", "melanoma_made_benign", "melanoma_sensitivity", "melanoma_specificity", "melanoma_auroc")
    return markdown(
        ["defence", *(cost.replace("_", " ") for cost in costs), "PSNR", "SSIM", "s", "MB"],
        [
            [
                r["defence"],
                *(_with_interval(r, cost) for cost in costs),
                "–" if r["psnr"] is None else f"{r['psnr']:.1f}",
                f"{r['ssim']:.3f}",
                f"{r['seconds_per_image']:.3f}",
                f"{r['peak_memory_mb']:.1f}",
            ]
            for r in records
            if r["attack"] == "none"
        ],
    )


def attack_table(records: list[dict]) -> list[str]:
    """Attacks that do not know the defence, where there are several: how large, how coarse, and what MDDA leaves."""
    by_key = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    attacks = [r for r in records if r["defence"] == "none" and r["attack"] != "none"]
    if len({r["attack"] for r in attacks}) < 2:
        return []
    body = [
        [
            r["attack"],
            "–" if r["eps"] is None else f"{r['eps']:g}/255",
            f"{r['l2']:.2f}",
            f"{100 * r['l2_coarse'] / r['l2']:.0f} %",
            f"{r['l2_coarse']:.2f}",
            _with_interval(r, "accuracy"),
            _with_interval(by_key.get((r["attack"], r["eps"], "mdda")), "accuracy"),
        ]
        for r in attacks
    ]
    header = ["attack", "epsilon", "L2 norm", "coarse part", "its L2 norm", "accuracy, no defence", "accuracy, MDDA"]
    return [
        f"The attacks: how long they are, and how much of that lies below {COARSE} cycles a picture (shapes of 8 "
        "pixels and",
        "more), which no smoothing takes away without taking the lesion's own shapes.",
        "",
        markdown(header, body),
        "",
    ]


def verdicts(records: Sequence[dict], names: str = "") -> list[str]:
    """Where MDDA is ahead of its peers, each at its best setting, where it is behind, and where the pictures cannot
    tell: by the interval of the difference on the same pictures, at least ``ENOUGH``; also of records at equal cost.
    ``names="_title"`` has attacks and defences by their titles. Attacks through the defence are not the same for all,
    see ``strongest``."""
    lines = []
    for key in dict.fromkeys(_compared(r) for r in records if r["threat"] == "oblivious"):
        among = [r for r in records if _compared(r) == key]
        best = at_their_best(r["defence"] for r in among)
        ours = next((r for r in among if r["defence"] == "mdda"), None)
        peers = [r for r in among if r["defence"] in best and is_peer(r["defence"]) and r["mdda_ahead_by"] is not None]
        if ours is None or not peers or ours["n"] < ENOUGH:
            continue
        ahead = [r for r in peers if r["mdda_ahead_by_low"] > 0]
        behind = [r for r in peers if r["mdda_ahead_by_high"] < 0]
        level = [r for r in peers if r not in ahead + behind]
        found = []
        if ahead:
            found.append(say("**ahead of** {names}", names=_leads(ahead, names)))
        if behind:
            found.append(say("**behind** {names}", names=_leads(behind, names)))
        if level:
            found.append(say("**no significant difference from** {names}", names=_leads(level, names)))
        text = say(
            "`{classifier}`, {condition}, {n} pictures: MDDA {percent:.1f} %. It is {found} (points of accuracy on the "
            "same pictures).",
            classifier=ours["classifier"],
            condition=_attacked_by(ours, names),
            n=ours["n"],
            percent=100 * ours["accuracy"],
            found="; ".join(found),
        )
        lines.append(f"- {text}")
    return lines


def strongest(records: Sequence[dict], eps: float) -> list[dict]:
    """For every defence that was attacked at ``eps``/255 by someone who knows it, the record of the attack that left
    least, of all at that size: who knows a defence may also do what others do, but not know the noise that will be
    drawn. MDDA first."""
    among = [r for r in records if r["eps"] == eps and r["defence"] != "none"]
    among = [r for r in among if not get_attacker(r["attack"]).knows_noise]
    among = [r for r in among if r["n"] == max(r["n"] for r in among)]  # targeted attacks are on some pictures only
    known = dict.fromkeys(r["defence"] for r in among if r["threat"] == "adaptive")
    names = sorted(known, key=lambda name: name != "mdda")
    return [min((r for r in among if r["defence"] == name), key=lambda r: r["accuracy"]) for name in names]


def strongest_table(groups: Iterable[list[dict]], eps: float = 2.0) -> str:
    """``strongest`` of each classifier on at least ``ENOUGH`` pictures, a column each; "" where there is none."""
    large = [records for records in groups if _images(records) >= ENOUGH]
    columns = [{r["defence"]: r for r in found} for records in large if (found := strongest(records, eps))]
    header = [f"`{r['classifier']}`, {r['n']} pictures" for r in (next(iter(column.values())) for column in columns)]

    def cell(record: dict | None) -> str:
        return "–" if record is None else f"{_percent(record)}, {record['attack']}"

    names = dict.fromkeys(name for column in columns for name in column)
    body = [[name, *(cell(column.get(name)) for column in columns)] for name in names]
    return markdown(["defence", *header], body) if columns else ""


def _compared(record: dict) -> tuple:
    """What must be the same of records that are compared."""
    return record["attack"], record["eps"], record.get("budget")


def _attacked_by(record: dict, names: str) -> str:
    """The attack, what its attacker knows, and its size, in words."""
    if record["attack"] == "none":
        return say("clean pictures")
    attack = say(record[f"attack{names}"])
    if record["threat"] == "adaptive":
        text = say("{attack}, adaptive attacker", attack=attack)
    else:
        text = say("{attack}, oblivious attacker", attack=attack)
    if record["eps"] is not None:
        text = say("{condition} at {eps:g}/255", condition=text, eps=record["eps"])
    if "budget" in record:
        text = say("{condition}, giving up at most {budget:g} points", condition=text, budget=record["budget"])
    return text


def _leads(records: list[dict], names: str) -> str:
    return ", ".join(lead(r, names) for r in records)


def lead(record: dict, names: str) -> str:
    return f"{say(record[f'defence{names}'])} ({100 * record['mdda_ahead_by']:+.1f})"


def _by_condition(records: list[dict], score: str) -> str:
    """A row for each defence that has the score, a column for each attack and epsilon."""
    conditions = {(r["attack"], r["eps"]): _condition(r) for r in records}
    by_key = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    defences = dict.fromkeys(r["defence"] for r in records if r[score] is not None)
    body = [[d, *(_with_interval(by_key.get((*condition, d)), score) for condition in conditions)] for d in defences]
    return markdown(["defence", *conditions.values()], body)


def _condition(record: dict) -> str:
    if record["attack"] == "none":
        return f"clean pictures, n = {record['n']}"
    eps = "" if record["eps"] is None else f" {record['eps']:g}/255"
    return f"{record['attack']}{eps}, {record['threat']}, n = {record['n']}"


def _with_interval(record: dict | None, score: str) -> str:
    if record is None or record[score] is None:
        return "–"
    return f"{record[score]:.3f} ({record[f'{score}_low']:.3f} to {record[f'{score}_high']:.3f})"


def at_equal_cost_table(records: list[dict]) -> str:
    """What each family keeps for points of clean accuracy given up, of ``tradeoff.py``'s records; "" of none."""
    if not records:
        return ""
    families = {r["defence"]: r["settings"] for r in records}
    conditions = {_compared(r): r for r in records}
    header = [
        "family",
        "settings",
        *(f"{r['attack']} {r['eps']:g}/255, at most {r['budget']:g} points given up" for r in conditions.values()),
    ]
    by_key = {(*_compared(r), r["defence"]): r for r in records}
    body = [
        [
            family,
            ", ".join(settings),
            *(_with_interval(by_key[*condition, family], "accuracy") for condition in conditions),
        ]
        for family, settings in families.items()
    ]
    return (
        "\nAt equal cost: accuracy under an attack whose attacker does not know the defence, with the best of a\n"
        "family's settings, doing nothing among them, or the best mixture of two, that gives up at most so many\n"
        f"points of accuracy on clean pictures. {records[0]['n']} pictures.\n\n" + markdown(header, body) + "\n"
    )


def sources_table(records: list[dict]) -> str:
    """Accuracy by defence and source of the pictures, of ``summary.by_source``'s records; "" of none."""
    if not records:
        return ""
    sources = {r["source"]: r for r in records}
    conditions = {(r["source"], r["attack"], r["eps"]): f"{r['source']}, {_condition(r)}" for r in records}
    by_key = {(r["source"], r["attack"], r["eps"], r["defence"]): r for r in records}
    body = [
        [name, *(_with_interval(by_key[*condition, name], "accuracy") for condition in conditions)]
        for name in dict.fromkeys(r["defence"] for r in records)
    ]
    qualities = {name: r["jpeg_quality"] for name, r in sources.items() if r["jpeg_quality"] is not None}
    files = " and ".join(f"{name}'s were of quality {quality:.0f}" for name, quality in qualities.items())
    came = f" They came as JPEG files: {files}, on average." if files else ""
    return (
        f"\nThe same accuracy by where the pictures come from.{came}\n\n"
        + markdown(["defence", *conditions.values()], body)
        + "\n"
    )


def purifier_text(settings: dict) -> str:
    """MDDA's settings, as they are stored with what was measured, in words."""
    scales = ", ".join(f"{scale:g}" for scale in settings["scales"])
    noise = f"sigma {255 * settings['sigma']:g}/255; weight {settings['weight']:g}"
    return f"scales {scales}; {settings['blocks']} blocks; {noise}; own {settings['own']:g}"


def markdown(header: list[str], body: list[list[str]]) -> str:
    """A Markdown table of cells that are text already."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body))
