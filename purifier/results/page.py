"""docs/robustness.md, its plots and its CSV, from what is stored in assets/evaluation: ``purifier results --docs``.

The page's words are in robustness.md beside this file, with places for what is computed here.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from purifier.defences import FAMILIES
from purifier.evaluation.intervals import PERCENT, WHOLE_PERCENT, Score, written
from purifier.figures import Figure, save_figure
from purifier.results.plots import plot_budgets, plot_convergence, plot_epsilon, plot_forest, plot_heat
from purifier.results.record import (
    EVALUATION,
    Record,
    at_their_best,
    find,
    pictures,
    pooled,
    read_evaluations,
    strongest,
)
from purifier.results.tables import by_condition, markdown, overview, purifier_text, side, table

TEMPLATE = Path(__file__).with_name("robustness.md")
CLASSIFIERS = ("augmented", "robust", "standard", "surrogate")
BALANCED = {name: f"{name}-balanced" for name in ("augmented", "standard", "surrogate")}  # the largest choices, by run
AS_THEY_COME = {name: f"{name}-as-they-come" for name in ("augmented", "robust")}
ADAPTIVE = {name: f"{name}-adaptive" for name in CLASSIFIERS}  # on the same pictures
ATTACKS, EFFORT = "augmented-attacks", "augmented-convergence"  # on few pictures
KNOWN_SIZE = 2.0  # in 1/255, at which all classifiers were attacked
GRADIENT_FREE = ("bpda", "defended-square", "square", "transfer")  # kinds that do not use the defence's gradient
ISIC_2019 = 25_331  # training images of the challenge
CORES_PER_GPU = (50, 200)  # between which a GPU's worth is taken to lie, until someone measures one
GPUS = (1, 8, 64)
Runs = dict[str, list[Record]]


def write_robustness_page(page: Path, folder: Path = EVALUATION) -> None:
    """Write the page, the plots and ``results.csv`` in a folder of its name beside it, and the runs' tables anew."""
    runs, tradeoffs, sources = (read_evaluations(folder, kind) for kind in ("summary", "tradeoff", "sources"))
    for name, records in runs.items():
        text = table(records, tradeoffs.get(name, []), sources.get(name, []))
        (folder / name / "table.md").write_text(text, encoding="utf-8")
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    (beside / "results.csv").write_text(results_csv(folder), encoding="utf-8")
    for name, figure in plots(runs, tradeoffs).items():
        save_figure(figure, beside / name, kinds=("png",))
    page.write_text(robustness_page(folder), encoding="utf-8")


def results_csv(folder: Path = EVALUATION) -> str:
    """Every stored record of every run, what is kept at equal cost and by source too, a row each."""
    rows = [
        {"run": name, **record.row(), "settings": " ".join(record.settings or []), "choice": record.choice[:8]}
        for kind in ("summary", "tradeoff", "sources")
        for name, records in read_evaluations(folder, kind).items()
        for record in records
    ]
    found = pd.DataFrame(rows).drop(columns=["attack_title", "defence_title"]).convert_dtypes()
    return found.to_csv(index=False, float_format="%.3f", lineterminator="\n")


def robustness_page(folder: Path = EVALUATION, shown_as: str = "../assets/evaluation") -> str:
    """The page in Markdown; ``shown_as`` is how it reaches ``folder``."""
    runs, tradeoffs = read_evaluations(folder), read_evaluations(folder, "tradeoff")
    sources = read_evaluations(folder, "sources")[BALANCED["standard"]]
    groups, of = pooled(runs.values()), on_their_choices(runs)
    attacks, balanced = of[ATTACKS], of[BALANCED["augmented"]]
    return TEMPLATE.read_text(encoding="utf-8").format(
        evaluation=shown_as,
        **in_short(of, tradeoffs),
        overview=markdown(overview(groups)),
        pictures_runs=sum(records[0].lesions is None for records in runs.values()),
        runs_count=len(runs),
        heat_tables="\n\n".join(heat_table(of[run]) for run in ADAPTIVE.values()),
        **leads(of),
        equal_cost_table=equal_cost_table(tradeoffs),
        sources_lesions=" and ".join(
            f"{n} pictures ({lesions} lesions) of {source}"
            for source, n, lesions in dict.fromkeys((r.source, r.n, r.lesions) for r in sources)
        ),
        sources_table=markdown(sources_table(sources)),
        masking_table=markdown(pd.DataFrame(row for records in groups for row in masking(records))),
        cost_table=markdown(cost_table(balanced)),
        attacks_n=pictures(attacks),
        attacks_table=markdown(attacks_table(attacks)),
        **tuning(folder / "tuning"),
        **whole_dataset([record for records in groups for record in records]),
        runs_table=markdown(runs_table(runs, shown_as)),
    )


def on_their_choices(runs: Runs) -> Runs:
    """For the name of each run all records on its choice of pictures."""
    groups = {records[0].choice: records for records in pooled(runs.values())}
    return {name: groups[records[0].choice] for name, records in runs.items()}


def in_short(of: Runs, tradeoffs: Runs) -> dict[str, object]:
    """The figures of the page's first sentences; ``of`` as ``on_their_choices`` has it."""

    def share(run: str, attack: str, defence: str) -> str:
        return mark(find(of[run], attack, None if attack == "none" else KNOWN_SIZE, defence))

    aware = {name: strongest(of[run], KNOWN_SIZE) for name, run in ADAPTIVE.items()}
    best = max((r for r in aware["augmented"] if r.is_peer), key=lambda r: r.accuracy.value)
    jpeg = f"jpeg{FAMILIES['jpeg'].default:g}"
    found = {
        "balanced_n": pictures(of[BALANCED["augmented"]]),
        "clean": share(BALANCED["augmented"], "none", "none"),
        "attacked": share(BALANCED["augmented"], "pgd20", "none"),
        "purified": share(BALANCED["augmented"], "pgd20", "mdda"),
        "clean_purified": share(BALANCED["augmented"], "none", "mdda"),
        "standard_clean": share(BALANCED["standard"], "none", "none"),
        "standard_purified": share(BALANCED["standard"], "none", "mdda"),
        "adaptive_n": pictures(of[ADAPTIVE["augmented"]]),
        "robust_bare": share(ADAPTIVE["robust"], "pgd20", "none"),
        "best_name": f"`{best.defence}`",
        "best": mark(best),
        "best_clean": share(ADAPTIVE["augmented"], "none", best.defence),
    }
    for name, (ours, *_) in aware.items():
        found[f"aware_{name}"] = mark(ours)
    for name, run in BALANCED.items():
        lead = find(of[run], "pgd20", KNOWN_SIZE, jpeg).mdda_ahead_by
        far = f"{abs(100 * lead.value):.1f} points"
        level = f"not significantly different ({100 * lead.value:+.1f} points)"
        found[f"jpeg_{name}"] = {1: f"ahead by {far}", -1: f"behind by {far}", 0: level}[side(lead)]
        peers = [r.mdda_ahead_by for r in tradeoffs[run] if r.budget == 10 and r.mdda_ahead_by is not None]
        found[f"equal_{name}"] = f"{sum(side(lead) == 1 for lead in peers)} of {len(peers)}"
    return found


def mark(record: Record | None) -> str:
    """The accuracy, with a dagger where the interval is over pictures."""
    return "–" if record is None else record.accuracy.written(PERCENT) + ("†" if record.lesions is None else "")


def heat_table(records: Sequence[Record]) -> str:
    """What is left behind each tuned defence: clean, under an unaware attacker, and under the strongest aware one."""
    aware = {r.defence: r for r in strongest(records, KNOWN_SIZE)}
    names = dict.fromkeys(r.defence for r in at_their_best(records))
    body = pd.DataFrame(
        {
            "defence": name,
            "clean pictures": mark(find(records, "none", None, name)),
            f"unaware, {KNOWN_SIZE:g}/255": mark(find(records, "pgd20", KNOWN_SIZE, name)),
            f"aware, {KNOWN_SIZE:g}/255": f"{mark(aware[name])}, {aware[name].attack}" if name in aware else "–",
        }
        for name in names
    )
    draws = max(r.draws for r in records)
    return f"`{records[0].classifier}`, {pictures(records)} pictures, mean of {draws} draws:\n\n{markdown(body)}"


def leads(of: Runs) -> dict[str, str]:
    """MDDA's lead over its tuned peers on each classifier's largest choices, unaware attackers; and which these are."""
    rows, choices = {}, []
    for run in (*BALANCED.values(), *AS_THEY_COME.values()):
        records = of[run]
        name = f"`{records[0].classifier}`, {pictures(records)}"
        over = "pictures" if records[0].lesions is None else f"{records[0].lesions} lesions"
        choices.append(f"- {name} pictures, {max(r.draws for r in records)} draws, intervals over {over}")
        for ours in (r for r in records if r.defence == "mdda" and r.attacker.kind in ("none", "pgd")):
            peers = [r for r in at_their_best(records) if r.condition == ours.condition and r.is_peer]
            what = "clean" if ours.clean else f"{ours.eps:g}/255"
            rows[f"{name}, {what}"] = lead_row(ours, peers)
    return {"lead_table": lead_table(rows), "lead_choices": "\n".join(choices)}


def equal_cost_table(tradeoffs: Runs) -> str:
    """MDDA's lead at each number of points of clean accuracy given up."""
    rows = {}
    for records in tradeoffs.values():
        for ours in (r for r in records if r.defence == "mdda"):
            peers = [r for r in records if r.condition == ours.condition and r.mdda_ahead_by is not None]
            rows[f"`{ours.classifier}`, {ours.budget:g} points"] = lead_row(ours, peers)
    return lead_table(rows)


def lead_row(ours: Record, peers: Iterable[Record]) -> dict[str, str]:
    """MDDA's accuracy, and by how much it is ahead of each peer."""
    return {"MDDA": f"{100 * ours.accuracy.value:.1f} %", **{r.defence: points(r.mdda_ahead_by) for r in peers}}


def lead_table(rows: dict[str, dict[str, str]]) -> str:
    """Rows by their name, as Markdown; a dash where a row lacks a column."""
    return markdown(pd.DataFrame(rows).T.fillna("–").rename_axis("of").reset_index())


def points(lead: Score | None) -> str:
    """A difference in points; bold where it is significant."""
    if lead is None:
        return "–"
    return f"**{100 * lead.value:+.1f}**" if side(lead) else f"{100 * lead.value:+.1f}"


def sources_table(records: Sequence[Record]) -> pd.DataFrame:
    """What the text says of JPEG and of one scale, by source."""
    shown = ("none", "mdda", "noisy-rof0.03", "jpeg20", "jpeg30", "jpeg50")
    chosen = [r for r in records if r.defence in shown]
    return by_condition(
        chosen, "accuracy", lambda r: f"{r.source}, {'clean' if r.clean else f'{r.eps:g}/255'}", form=PERCENT
    )


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
        exact = sorted(of_kind("eot"), key=lambda r: (r.attacker.passes, r.attacker.steps))
        by_stand_in, checks = of_kind("stand-in"), of_kind(*GRADIENT_FREE)
        others = of_kind(*GRADIENT_FREE, "pgd")  # which was made with no defence in view, and is no check
        if not exact or not (len(exact) > 1 or by_stand_in or checks):
            continue
        hardest = min([*exact, *by_stand_in], key=lambda r: r.accuracy.value)
        if len(exact) > 3:  # the others are in the plot
            exact = [exact[0], max(exact, key=lambda r: r.attacker.steps), min(exact, key=lambda r: r.accuracy.value)]
        better = [r.attack for r in others if r.accuracy.value < hardest.accuracy.value]
        verdict = f"; **better**: {', '.join(better)}" if better else "; none does better" if checks else ""
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


def cost_table(records: Sequence[Record]) -> pd.DataFrame:
    """What each tuned defence does to clean pictures."""
    return pd.DataFrame(
        {
            "defence": r.defence,
            "broken": written(r.broken, PERCENT),
            "melanomas made benign": written(r.melanoma_made_benign, PERCENT),
            "melanoma AUROC": written(r.melanoma_auroc),
            "PSNR": "–" if r.psnr is None else f"{r.psnr:.1f} dB",
            "seconds": f"{r.seconds_per_image:.3f}",
        }
        for r in at_their_best(records)
        if r.clean
    )


def attacks_table(records: Sequence[Record]) -> pd.DataFrame:
    """Each unaware attack, without a defence and behind MDDA."""
    columns = {}
    for r in records:
        if r.defence == "mdda" and not r.clean:
            size = "of no given size" if r.eps is None else f"{r.eps:g}/255"
            before = 100 * find(records, r.attack, r.eps, "none").accuracy.value
            columns.setdefault(size, {})[r.attack] = f"{before:.0f} → {r.accuracy.written(WHOLE_PERCENT)}"
    sizes = sorted(columns, key=lambda size: (len(size), size))
    return pd.DataFrame(columns)[sizes].fillna("–").rename_axis("attack").reset_index()


def tuning(folder: Path) -> dict[str, object]:
    """How the settings were chosen, from a stored search."""
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    body = pd.DataFrame(
        {
            "defence": choice["defence"],
            "settings": purifier_text(choice["purifier"]) if "purifier" in choice else "by its number",
            "tried": str(choice["trials"]),
            **{condition: f"{100 * accuracy:.1f} %" for condition, accuracy in choice["accuracy"].items()},
        }
        for choice in best.values()
    )
    left_out = ", ".join(f"{name}{family.default:g}" for name, family in FAMILIES.items() if name not in best)
    text = f" Not searched in this run: {left_out}; the default was chosen otherwise." if left_out else ""
    return {"tuning_images": len(settings["images"]), "tuning_table": markdown(body), "not_searched": text}


def whole_dataset(records: Sequence[Record]) -> dict[str, object]:
    """An attack that does not know the defence is made once for all of them."""
    attacks = {
        (r.classifier, r.attack, r.eps, r.defence if r.adaptive else None): r.attack_seconds_per_image for r in records
    }
    seconds = sum(attacks.values()) + sum(r.seconds_per_image * r.draws for r in records)
    hours = seconds * ISIC_2019 / 3600
    body = pd.DataFrame(
        {"GPUs": str(gpus)} | {f"hours, if a GPU is worth {c} cores": f"{hours / c / gpus:,.1f}" for c in CORES_PER_GPU}
        for gpus in GPUS
    )
    low, high = CORES_PER_GPU
    found = {"isic_images": ISIC_2019, "core_hours": hours, "cores_low": low, "cores_high": high}
    return {**found, "hours_table": markdown(body)}


def runs_table(runs: Runs, shown_as: str) -> pd.DataFrame:
    """What was run, with links to all of its figures."""
    return pd.DataFrame(
        {
            "run": f"[{name}]({shown_as}/{name}/table.md)",
            "pictures": str(pictures(records)),
            "intervals over": "pictures"
            if records[0].lesions is None
            else f"{max(r.lesions for r in records)} lesions",
            "draws": str(max(r.draws for r in records)),
            "attackers": ", ".join(dict.fromkeys(r.attacker.threat for r in records if not r.clean)),
            "asked for": f"[command]({shown_as}/{name}/command.txt)",
        }
        for name, records in runs.items()
    )


def plots(runs: Runs, tradeoffs: Runs) -> dict[str, Figure]:
    """A plot for each of the page's questions, by name."""
    of = on_their_choices(runs)
    largest = {name: of[run] for name, run in {**BALANCED, "robust": AS_THEY_COME["robust"]}.items()}
    figures = {
        "heat": plot_heat({name: heat(of[run]) for name, run in ADAPTIVE.items()}),
        "lead": plot_forest(
            {
                f"{name}, {pictures(records)} pictures": {
                    r.defence: r.mdda_ahead_by
                    for r in at_their_best(records)
                    if r.is_peer and (r.attack, r.eps) == ("pgd20", KNOWN_SIZE)
                }
                for name, records in sorted(largest.items())
            },
            "points of accuracy by which MDDA is ahead, PGD at 2/255, unaware attacker; 95 % interval",
        ),
        "equal-cost": plot_budgets(tradeoffs.values()),
        "epsilon": plot_epsilon(of[ADAPTIVE["augmented"]]),
        "effort": plot_convergence(of[ADAPTIVE["augmented"]]),
        "effort-few-pictures": plot_convergence(of[EFFORT]),
        "cost": plot_forest(
            {
                f"{name}: {words}": {
                    r.defence: getattr(r, score)
                    for r in at_their_best(of[BALANCED[name]])
                    if r.clean and r.defence != "none"
                }
                for name in ("augmented", "standard")
                for score, words in (("broken", "broken"), ("melanoma_made_benign", "melanomas made benign"))
            },
            "per cent of clean pictures; 95 % interval",
        ),
        "attacks": plot_heat(
            {
                title: pd.DataFrame(
                    {
                        f"{eps:g}/255": {
                            r.attack: r.accuracy for r in of[ATTACKS] if (r.defence, r.eps) == (defence, eps)
                        }
                        for eps in (1, 2, 4, 8)
                    }
                )
                for defence, title in (("none", "no defence"), ("mdda", "MDDA"))
            }
        ),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def heat(records: Sequence[Record]) -> pd.DataFrame:
    """Accuracies by tuned defence and attacker: clean, unaware, and the strongest aware one, from small to large."""
    best = at_their_best(records)
    sizes = sorted({r.eps for r in best if r.eps is not None})
    columns = {"clean": [r for r in best if r.clean]}
    columns |= {f"unaware\n{eps:g}/255": [r for r in best if (r.attack, r.eps) == ("pgd20", eps)] for eps in sizes}
    columns |= {f"aware\n{eps:g}/255": strongest(best, eps) for eps in sizes}
    return pd.DataFrame({name: {r.defence: r.accuracy for r in found} for name, found in columns.items()})
