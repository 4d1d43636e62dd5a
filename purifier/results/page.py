"""docs/robustness.md, its plots and its CSV, from what is stored in assets: ``purifier results --docs``.

The page's words are in purifier/templates/robustness.md, with places for what is computed here: the words alone say
nothing of the figures. A section whose runs are missing is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from purifier.alarm import FALSE_ALARMS
from purifier.figures import Figure, save_figure
from purifier.files import ASSETS
from purifier.pipeline import Purifier
from purifier.results import sections
from purifier.results.claims import UNAWARE
from purifier.results.plots import plot_budgets, plot_convergence, plot_epsilon, plot_forest, plot_heat
from purifier.results.record import Record, at_their_best, find, pictures, read_evaluations, strongest
from purifier.results.short import in_short, listed, sizes
from purifier.results.stored import ADAPTIVE, BALANCED, DEFAULT, FIRST, Stored
from purifier.results.tables import markdown, overview, purifier_text, table
from purifier.runs import Settings
from purifier.templates import render_markdown

ATTACKS, EFFORT = f"{DEFAULT}-attacks", f"{DEFAULT}-convergence"  # runs on few pictures
KINDS = ("summary", "tradeoff", "sources")


def write_robustness_page(page: Path, assets: Path = ASSETS) -> None:
    """Write the page, the plots and ``results.csv`` in a folder of its name beside it, and the runs' tables anew."""
    stored = Stored.read(assets)
    for name, records in stored.runs.items():
        text = table(records, stored.tradeoffs.get(name, []), stored.sources.get(name, []))
        (stored.evaluation / name / "table.md").write_text(text, encoding="utf-8")
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    (beside / "results.csv").write_text(results_csv(stored.evaluation), encoding="utf-8")
    for plot in beside.glob("*.png"):  # of sections that may be there no more
        plot.unlink()
    for name, figure in plots(stored).items():
        save_figure(figure, beside / name, kinds=("png",))
    page.write_text(robustness_page(assets), encoding="utf-8")


def results_csv(folder: Path) -> str:
    """Every stored record of every run, what is kept at equal cost and by source too, a row each."""
    rows = [
        {"run": name, **record.row(), "settings": " ".join(record.settings or []), "choice": record.choice[:8]}
        for kind in KINDS
        for name, records in read_evaluations(folder, kind).items()
        for record in records
    ]
    found = pd.DataFrame(rows).drop(columns=["attack_title", "defence_title"]).convert_dtypes()
    return found.to_csv(index=False, float_format="%.3f", lineterminator="\n")


def robustness_page(assets: Path = ASSETS, shown_as: str = "../assets") -> str:
    """The page in Markdown; ``shown_as`` is how it reaches ``assets``."""
    stored = Stored.read(assets)
    balanced, adaptive = stored.of_kind(BALANCED), stored.of_kind(ADAPTIVE)
    attacks, sources = stored.by_run.get(ATTACKS), stored.sources[FIRST]
    of_balanced = [f"{name}-{BALANCED}" for name in balanced]
    return render_markdown(
        "robustness.md",
        assets=shown_as,
        plots=list(plots(stored)),
        purifier=purifier_text(stored.purifier()),
        ships=Purifier.read(stored.purifier()) == Purifier(),
        made_otherwise=listed([f"`{run}`" for run in stored.made_otherwise]) if stored.made_otherwise else "",
        in_short=in_short(stored),
        overview=markdown(overview(stored.choices)),
        sources=listed(list(dict.fromkeys(r.source for r in sources))),
        sizes=sizes(balanced.values()),
        heat_tables=[sections.heat_table(records) for records in adaptive.values()],
        leads=sections.leads(balanced.values()),
        settings_table=sections.settings_table([*balanced.values(), *adaptive.values()]),
        equal_cost=sections.equal_cost_tables(stored.tradeoffs.values()),
        unmeasured=None if find(balanced[DEFAULT], "none", None, f"mddax{Settings.draws}") else Settings.draws,
        measured_on={name: sections.measured_on(records) for name, records in stored.by_run.items()},
        by_size=sections.measured_on(_by_size(stored)),
        sources_text=sections.sources_text(sources),
        source_table=sections.by_source([stored.sources[run] for run in of_balanced if run in stored.sources]),
        masking=_masking(stored.choices),
        cost_table=sections.cost_table(balanced[DEFAULT]),
        attacks_table=attacks and sections.attacks_table(attacks),
        alarm_tables=[sections.alarm_table(found) for found in stored.detections.values()],
        detections=list(stored.detections),
        false_alarms=f"{100 * FALSE_ALARMS:g}",
        tuning=sections.tuning(stored.evaluation / "tuning"),
        further_searches=_further_searches(stored.evaluation),
        whole=sections.whole_dataset([record for records in stored.choices for record in records]),
        runs_table=sections.runs_table(stored.runs, f"{shown_as}/evaluation"),
    )


def _by_size(stored: Stored) -> Sequence[Record]:
    """On the default classifier, of the choices with aware attackers and without the one with more sizes of them."""
    choices = [stored.of_kind(kind)[DEFAULT] for kind in (ADAPTIVE, BALANCED)]
    return max(choices, key=lambda records: len({r.eps for r in records}))


def _masking(choices: Sequence[Sequence[Record]]) -> str:
    rows = [row for records in choices for row in sections.masking(records)]
    return markdown(pd.DataFrame(rows)) if rows else ""


def _further_searches(folder: Path) -> dict[str, dict[str, str]]:
    """The plots of further searches for settings, by the names of their runs."""
    return {path.name: found for path in sorted(folder.glob("tuning-*")) if (found := sections.plots_in(path))}


def plots(stored: Stored) -> dict[str, Figure]:
    """A plot for each of the page's questions, by name, where there are runs for it."""
    balanced, adaptive = stored.of_kind(BALANCED), stored.of_kind(ADAPTIVE)
    attacks, effort = stored.by_run.get(ATTACKS), stored.by_run.get(EFFORT)
    figures = {
        "heat": plot_heat({name: heat(records) for name, records in adaptive.items()}),
        "epsilon": plot_epsilon(_by_size(stored)),
        "effort": plot_convergence(adaptive[DEFAULT]),
        "effort-few-pictures": effort and plot_convergence(effort),
        "cost": plot_costs({name: balanced[name] for name in (DEFAULT, "standard") if name in balanced}),
        "attacks": attacks and plot_attacks(attacks),
    }
    for eps in sizes(balanced.values()):
        figures[f"lead-{eps:g}"] = plot_leads(balanced, eps)
    for eps in sizes(stored.tradeoffs.values()):
        kept = [[r for r in records if (r.attack, r.eps) == (UNAWARE, eps)] for records in stored.tradeoffs.values()]
        figures[f"equal-cost-{eps:g}"] = plot_budgets([r for r in kept if r], f"PGD at {eps:g}/255")
    return {name: figure for name, figure in figures.items() if figure is not None}


def plot_leads(choices: Mapping[str, Sequence[Record]], eps: float) -> Figure | None:
    """By how much MDDA is ahead of each tuned peer, a panel for each classifier; None where that was not measured."""
    panels = {}
    for name, records in choices.items():
        found = [r for r in records if r.is_peer and r.is_tuned and (r.attack, r.eps) == (UNAWARE, eps)]
        leads = {r.defence: r.mdda_ahead_by for r in found if r.mdda_ahead_by is not None}
        panels |= {f"{name}, {pictures(records)} pictures": leads} if leads else {}
    label = f"points of accuracy by which MDDA is ahead,\nPGD at {eps:g}/255, unaware attacker; 95 % interval"
    return plot_forest(panels, label) if panels else None


def plot_costs(choices: Mapping[str, Sequence[Record]]) -> Figure:
    """What each tuned defence makes of right readings of clean pictures, two panels for each classifier."""
    panels = {}
    for name, records in choices.items():
        found = [r for r in records if r.is_tuned and r.clean and r.defence != "none"]
        for score, words in (("broken", "broken"), ("melanoma_made_benign", "melanomas made benign")):
            shown = {r.defence: getattr(r, score) for r in found if getattr(r, score) is not None}
            panels[f"{name}: {words}"] = shown
    return plot_forest(panels, "per cent of clean pictures; 95 % interval")


def plot_attacks(records: Sequence[Record]) -> Figure:
    """What each unaware attack leaves without a defence and behind MDDA."""
    unaware = [r for r in records if not r.adaptive and r.eps is not None]
    panels = {}
    for defence, title in (("none", "no defence"), ("mdda", "MDDA")):
        columns = {f"{eps:g}/255": {} for eps in sorted({r.eps for r in unaware})}
        for r in unaware:
            if r.defence == defence:
                columns[f"{r.eps:g}/255"][r.attack] = r.accuracy
        panels[title] = pd.DataFrame(columns)
    return plot_heat(panels)


def heat(records: Sequence[Record]) -> pd.DataFrame:
    """Accuracies by tuned defence and attacker: clean, unaware, and the strongest aware one, from small to large."""
    best = at_their_best(records)
    found = sorted({r.eps for r in best if r.eps is not None})
    columns = {"clean": [r for r in best if r.clean]}
    columns |= {f"unaware\n{eps:g}/255": [r for r in best if (r.attack, r.eps) == (UNAWARE, eps)] for eps in found}
    columns |= {f"aware\n{eps:g}/255": strongest(best, eps) for eps in found}
    return pd.DataFrame({name: {r.defence: r.accuracy for r in found} for name, found in columns.items() if found})
