"""The tables of docs/robustness.md, in Markdown, each of the records that its section is about."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from purifier.classifiers.classifier import load_classifier
from purifier.defences import FAMILIES, OF_MDDA
from purifier.evaluation.intervals import PERCENT, WHOLE_PERCENT, Score, written
from purifier.evaluation.settings import DETECTORS
from purifier.pipeline import Purifier
from purifier.results.claims import EPS, UNAWARE
from purifier.results.detection import NAMES, Detected, among
from purifier.results.record import ANY, Record, at_their_best, find, pictures, strongest
from purifier.results.short import sizes
from purifier.results.stored import Runs
from purifier.results.tables import by_condition, in_points, mark, markdown, purifier_text, side

THROUGH_IT = ("eot", "apgd", "coarse", "grey-eot")  # with the defence's gradient, or the identity's
GRADIENT_FREE = ("bpda", "defended-square", "square", "transfer")  # without it
ISIC_2019 = 25_331  # training images of the challenge
MACHINES = (8, 64)


def measured_on(records: Sequence[Record]) -> str:
    """The conditions that a figure is read with."""
    draws = max(r.draws or 1 for r in records)
    return f"{pictures(records)} pictures, {draws} draw{'s' * (draws > 1)}, intervals over {_clusters(records)}"


def _clusters(records: Iterable[Record]) -> str:
    """What intervals are over."""
    return f"{max(r.lesions for r in records)} lesions"


def heat_table(records: Sequence[Record]) -> str:
    """What is left behind each tuned defence: clean, under an unaware attacker, and under the strongest aware one."""
    aware = {r.defence: r for r in strongest(records, EPS)}
    names = dict.fromkeys(r.defence for r in at_their_best(records))
    body = pd.DataFrame(
        {
            "defence": name,
            "clean pictures": mark(find(records, "none", None, name)),
            f"unaware, {EPS:g}/255": mark(find(records, UNAWARE, EPS, name)),
            f"aware, {EPS:g}/255": f"{mark(aware[name])}, {aware[name].attack}" if name in aware else "–",
        }
        for name in names
    )
    return f"`{records[0].classifier}`, {measured_on(records)}:\n\n{markdown(body)}"


def leads(choices: Iterable[Sequence[Record]]) -> dict[str, str]:
    """MDDA's lead over its tuned peers, clean and under unaware attackers; and on which choices of pictures."""
    rows, told = {}, []
    for records in choices:
        name = f"`{records[0].classifier}`, {pictures(records)}"
        told.append(f"`{records[0].classifier}`, {measured_on(records)}")
        for ours in (r for r in records if r.defence == "mdda" and r.attacker.kind in ("none", "pgd")):
            peers = [r for r in records if r.condition == ours.condition and r.is_peer and r.is_tuned]
            rows[f"{name}, {'clean' if ours.clean else f'{ours.eps:g}/255'}"] = lead_row(ours, peers)
    return {"table": lead_table(rows), "choices": "; ".join(told)}


def equal_cost_tables(tradeoffs: Iterable[Sequence[Record]]) -> dict[float, str]:
    """For each size of the attack MDDA's lead at each number of points of clean accuracy given up."""
    tradeoffs = list(tradeoffs)
    tables = {}
    for eps in sizes(tradeoffs):
        rows = {}
        for records in tradeoffs:
            for ours in (r for r in records if (r.attack, r.eps, r.defence) == (UNAWARE, eps, "mdda")):
                peers = [r for r in records if r.condition == ours.condition and r.mdda_ahead_by is not None]
                rows[f"`{ours.classifier}`, {ours.n}, {ours.budget:g} points"] = lead_row(ours, peers)
        tables[eps] = lead_table(rows)
    return tables


def lead_row(ours: Record, peers: Iterable[Record]) -> dict[str, str]:
    """MDDA's accuracy, and by how much it is ahead of each peer."""
    return {"MDDA": f"{100 * ours.accuracy.value:.1f} %", **{r.defence: points(r.mdda_ahead_by) for r in peers}}


def lead_table(rows: Mapping[str, dict[str, str]]) -> str:
    """Rows by their name, as Markdown; a dash where a row lacks a column."""
    return markdown(pd.DataFrame(rows).T.fillna("–").rename_axis("of").reset_index())


def points(lead: Score | None) -> str:
    """A difference in points, bold where it is significant, with its interval."""
    if lead is None:
        return "–"
    value, within = in_points(lead)
    return f"**{value}** ({within})" if side(lead) else f"{value} ({within})"


def settings_table(choices: Iterable[Sequence[Record]]) -> str:
    """MDDA in each of its settings, where there are others with the default denoiser: what is left, and by how much the
    default is ahead. "" where there are none."""
    rows = [row for records in choices for row in _settings(records)]
    return markdown(pd.DataFrame(rows).fillna("–")) if rows else ""


def _settings(records: Sequence[Record]) -> Iterator[dict[str, str]]:
    if len({r.defence for r in records if r.family == "mdda"}) < 2:
        return
    aware = {r.defence: r for r in strongest(records, EPS)}
    for name in dict.fromkeys(r.defence for r in records if r.family in OF_MDDA):
        shown = [r for r in records if r.defence == name and (r.clean or r.attack == UNAWARE)]
        yield {
            "of": f"`{records[0].classifier}`, {pictures(records)}",
            "settings": f"`{name}`",
            **{"clean" if r.clean else f"unaware, {r.eps:g}/255": _with_lead(r) for r in shown},
            **({f"aware, {EPS:g}/255": mark(aware[name])} if name in aware else {}),
        }


def _with_lead(record: Record) -> str:
    return mark(record) if record.mdda_ahead_by is None else f"{mark(record)}; {points(record.mdda_ahead_by)}"


def by_source(sources: Iterable[Sequence[Record]]) -> str:
    """What nothing, MDDA and JPEG leave, by the source of the pictures."""
    found = []
    for records in sources:
        chosen = [r for r in at_their_best(records) if r.family in ("none", "mdda", "jpeg")]
        cells = by_condition(chosen, "accuracy", _of_source, form=PERCENT)
        cells.insert(0, "of", f"`{records[0].classifier}`")
        found.append(cells)
    return markdown(pd.concat(found).fillna("–"))


def _of_source(record: Record) -> str:
    return f"{record.source}, {'clean' if record.clean else f'{record.eps:g}/255'}"


def sources_text(records: Sequence[Record]) -> str:
    """How many pictures came from each source, and how much their files were compressed."""
    found = dict.fromkeys((r.source, r.n, r.lesions, r.jpeg_quality) for r in records)
    parts = []
    for source, n, lesions, quality in found:
        files = "" if quality is None else f", JPEG files of quality {quality:.0f} on average"
        parts.append(f"{n} pictures ({lesions} lesions) of {source}{files}")
    return "; ".join(parts)


def masking(records: Sequence[Record]) -> list[dict[str, str]]:
    """Whether the attackers who know a defence were weak, or its gradient hidden (Athalye, Carlini & Wagner, 2018):
    more steps and samples must not help much, and attacks without its gradient must not do better than with it."""

    def of_kind(*kinds: str) -> list[Record]:
        return [r for r in on_it if r.attacker.kind in kinds]

    def shares(found: Iterable[Record]) -> str:
        return ", ".join(f"{r.attack} {mark(r)}" for r in found) or "–"

    lines = []
    for defence, eps in dict.fromkeys((r.defence, r.eps) for r in records if r.adaptive):
        on_it = [r for r in records if (r.defence, r.eps) == (defence, eps)]
        exact = [r for kind in THROUGH_IT for r in _some(of_kind(kind))]
        by_stand_in, checks = of_kind("stand-in"), of_kind(*GRADIENT_FREE)
        others = of_kind(*GRADIENT_FREE, "pgd")  # which was made with no defence in view, and is no check
        if not exact:
            continue
        hardest = min([*exact, *by_stand_in], key=lambda r: r.accuracy.value)
        better = [r.attack for r in others if r.accuracy.value < hardest.accuracy.value]
        verdict = (
            f"; **better**: {', '.join(better)}" if better else "; none does better" if checks else "; no other tried"
        )
        lines.append(
            {
                "behind": f"{hardest.classifier}, {defence}",
                "epsilon": f"{eps:g}/255",
                "pictures": str(hardest.n),
                "strongest": mark(hardest),
                "through it": shares(exact),
                "by a stand-in": shares(by_stand_in),
                "without its gradient": shares(others) + verdict,
                "noise known": shares(of_kind("fixed")),
            }
        )
    return lines


def _some(records: Sequence[Record]) -> list[Record]:
    """Of an attack in more than three lengths the shortest, that of most steps and the strongest: the others are in the
    plot."""
    found = sorted(records, key=lambda r: (r.attacker.passes, r.attacker.steps))
    if len(found) <= 3:
        return found
    shown = (found[0], max(found, key=lambda r: r.attacker.steps), min(found, key=lambda r: r.accuracy.value))
    return [r for r in found if any(r is one for one in shown)]


def cost_table(records: Sequence[Record]) -> str:
    """What each tuned defence does to clean pictures."""
    return markdown(
        pd.DataFrame(
            {
                "defence": r.defence,
                "broken": written(r.broken, PERCENT),
                "recognised": written(r.melanoma_sensitivity, PERCENT),
                "made benign": written(r.melanoma_made_benign, PERCENT),
                "specificity": written(r.melanoma_specificity, PERCENT),
                "melanoma AUROC": written(r.melanoma_auroc),
                "PSNR": "–" if r.psnr is None else f"{r.psnr:.1f} dB",
                "seconds": f"{r.seconds_per_image:.3f}",
            }
            for r in at_their_best(records)
            if r.clean
        )
    )


def attacks_table(records: Sequence[Record]) -> str:
    """Each unaware attack, without a defence and behind MDDA; on how many pictures, where it is not for all."""
    columns = {}
    for r in records:
        if r.defence == "mdda" and not r.clean and not r.adaptive:
            size = "of no given size" if r.eps is None else f"{r.eps:g}/255"
            before = 100 * find(records, r.attack, r.eps, "none").accuracy.value
            name = r.attack if r.n == pictures(records) else f"{r.attack} (on {r.n})"
            columns.setdefault(size, {})[name] = f"{before:.0f} → {r.accuracy.written(WHOLE_PERCENT)}"
    in_order = sorted(columns, key=lambda size: (len(size), size))
    return markdown(pd.DataFrame(columns)[in_order].fillna("–").rename_axis("attack").reset_index())


def tuning(folder: Path) -> dict[str, object] | None:
    """How settings were chosen, from a stored search; None where there is none."""
    if not (folder / "best.json").is_file():
        return None
    best, settings = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("best", "settings")
    )
    worst = [min(choice["accuracy"], key=choice["accuracy"].get) for choice in best.values()]
    body = pd.DataFrame(
        {
            "defence": family if "purifier" in choice else choice["defence"],
            "settings": purifier_text(choice["purifier"]) if "purifier" in choice else "by its number",
            "ships": _shipped(family, choice),
            "tried": str(choice["trials"]),
            **{condition: f"{100 * accuracy:.1f} %" for condition, accuracy in choice["accuracy"].items()},
        }
        for family, choice in best.items()
    )
    return {
        "images": len(settings["images"]),
        "classifier": settings["classifier"],
        "is_of_now": settings.get("weights") == load_classifier(settings["classifier"]).digest(),
        "varied": "`mdda-rof`" if "mdda" in best else "MDDA",  # before its denoisers were searched apart
        "conditions": ", ".join(dict.fromkeys(name for choice in best.values() for name in choice["accuracy"])),
        "worst": ", ".join(f"of {worst.count(name)} that of {name}" for name in dict.fromkeys(worst)),
        "table": markdown(body),
        "not_searched": ", ".join(
            f"`{name}{family.default:g}`" for name, family in FAMILIES.items() if name not in best
        ),
        "plots": plots_in(folder),
        "sensitivity": (folder / "sensitivity.png").is_file(),
    }


def _shipped(family: str, choice: dict) -> str:
    """Whether a search's choice is what the family has by default, or MDDA with this denoiser."""
    if "purifier" not in choice:
        return "yes" if choice["defence"] == f"{family}{FAMILIES[family].default:g}" else "no"
    found = Purifier.read(choice["purifier"])
    if found == Purifier():
        return "yes"
    return f"as `mdda-{found.denoiser}`" if found == Purifier(denoiser=found.denoiser) else "no"


def plots_in(folder: Path) -> dict[str, str]:
    """The plots of a search by their names, and at which size the attack was."""
    return {path.name: f"{path.stem.rpartition('-')[2]}/255" for path in sorted(folder.glob("tradeoff-*.png"))}


def alarm_table(found: Sequence[Detected]) -> str:
    """How well each detector tells attacked pictures from clean ones, of all and of the successful attacks; those that
    know one of the detectors named so."""
    clean = among(found, "none", None)
    rows = dict.fromkeys((d.attack, d.eps) for d in found if d.attack != "none" and d.source is None)
    body = pd.DataFrame(_alarm_row(found, *row) for row in rows)
    said = f"`{clean.classifier}`, {clean.n} clean pictures of {clean.lesions} lesions, mean of {clean.draws} draws"
    called = f"; of these the alarm calls {clean.called.written(PERCENT)} attacked" if clean.called else ""
    return f"{said}{called}:\n\n{markdown(body.loc[:, (body != '–').any()])}"


def _alarm_row(found: Sequence[Detected], attack: str, eps: float | None) -> dict[str, str]:
    by, ours = ({d: among(found, attack, eps, d, successful) for d in DETECTORS} for successful in (False, True))
    evaded = [NAMES[detector] for detector in DETECTORS if by[detector].evaded]
    successful = ours["alarm"]
    return {
        "attack": attack if eps is None else f"{attack}, {eps:g}/255",
        "evades": evaded[0] if evaded else "neither",
        "pictures": str(by["alarm"].n),
        **{f"{NAMES[detector]}: area": written(by[detector].auroc, WHOLE_PERCENT) for detector in DETECTORS},
        **{f"{NAMES[detector]}: detected": written(by[detector].detected, WHOLE_PERCENT) for detector in DETECTORS},
        "alarm: called attacked": written(by["alarm"].called, WHOLE_PERCENT),
        "successful": "–" if successful is None else str(successful.n),
        "alarm: of these detected": "–" if successful is None else written(successful.detected, WHOLE_PERCENT),
    }


def whole_dataset(records: Sequence[Record]) -> dict[str, object]:
    """What all of it would cost on all of ISIC 2019. An attack that does not know the defence is made once for all of
    them."""
    records = [r for r in records if r.attacker.kind != ANY.kind]  # which costs nothing besides
    attacks = {
        (r.classifier, r.attack, r.eps, r.defence if r.adaptive else None): r.attack_seconds_per_image for r in records
    }
    seconds = sum(attacks.values()) + sum(r.seconds_per_image * r.draws for r in records)
    hours = seconds * ISIC_2019 / 3600
    return {"images": ISIC_2019, "hours": hours, "on_several": {count: hours / count for count in MACHINES}}


def runs_table(runs: Runs, shown_as: str) -> str:
    """What was run, with links to all of its figures."""
    return markdown(pd.DataFrame(_run_row(name, records, shown_as) for name, records in runs.items()))


def _run_row(name: str, records: Sequence[Record], shown_as: str) -> dict[str, str]:
    return {
        "run": f"[{name}]({shown_as}/{name}/table.md)",
        "pictures": str(pictures(records)),
        "intervals over": _clusters(records),
        "draws": str(max(r.draws for r in records)),
        "attackers": ", ".join(dict.fromkeys(r.attacker.threat for r in records if not r.clean)),
        "asked for": f"[command]({shown_as}/{name}/command.txt)",
    }
