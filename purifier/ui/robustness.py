"""What the committed evaluation found, as the page shows it: assets/evaluation/<run>/summary.json."""

from collections.abc import Iterable
from html import escape

from purifier.evaluation.tables import run_title, together
from purifier.figures import as_svg, plot_epsilon

KNOWS = {"oblivious": "does not know the defence", "adaptive": "knows the defence"}


def robustness_section(runs: Iterable[list[dict]]) -> str:
    """For each classifier and choice of pictures what was found, in sentences, a plot and a table."""
    return "".join(map(_run, together(runs))) or "<p>No evaluation has been stored yet.</p>"


def _run(records: list[dict]) -> str:
    figure = plot_epsilon(records)
    plot = ""
    if figure is not None:  # which says what the table says
        plot = f'<div class="lp-plot" aria-hidden="true">{as_svg(figure)}</div>'
    return f"<section><h2>{escape(run_title(records))}</h2>{_says(records)}{plot}{_table(records)}</section>"


def _says(records: list[dict]) -> str:
    """A sentence for each attack on MDDA that was measured without a defence too, or by someone who knows it."""
    found = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    lines = []
    for r in records:
        if r["defence"] != "mdda" or r["attack"] == "none":
            continue
        without = found.get((r["attack"], r["eps"], "none"))
        before = "" if without is None else f"without a defence {_percent(without)} of pictures are read rightly, "
        size = "" if r["eps"] is None else f" at {r['eps']:g}/255"
        lines.append(
            f"<li>{escape(r['attack_title'])}{size}, whose attacker <b>{KNOWS[r['threat']]}</b>: {before}"
            f"with MDDA {_percent(r)}.</li>"
        )
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _percent(record: dict) -> str:
    low, high = (100 * record[f"accuracy_{end}"] for end in ("low", "high"))
    return f"{100 * record['accuracy']:.0f} % <small>({low:.0f}–{high:.0f})</small>"


def _table(records: list[dict]) -> str:
    conditions = list({(r["attack"], r["eps"]): r for r in reversed(records)}.values())[::-1]
    by_key = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    head = "".join(f'<th scope="col">{_condition(r)}</th>' for r in conditions)
    rows = []
    for defence, title in dict.fromkeys((r["defence"], r["defence_title"]) for r in records):
        cells = "".join(f"<td>{_cell(by_key.get((r['attack'], r['eps'], defence)))}</td>" for r in conditions)
        ours = ' class="lp-top"' if defence == "mdda" else ""
        rows.append(f'<tr{ours}><th scope="row">{escape(title)}</th>{cells}</tr>')
    counts, draws = sorted({r["n"] for r in records}), max(r["draws"] for r in records)
    pictures = f"{counts[-1]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caption = (
        "Pictures read rightly, in per cent, with the 95 % interval. "
        f"{pictures} held-out pictures; mean over {draws} draws where the defence draws noise."
    )
    return (
        '<div class="lp-robustness" tabindex="0" role="region" aria-label="Table of accuracies"><table>'
        f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _condition(record: dict) -> str:
    if record["attack"] == "none":
        return "nobody attacks"
    size = "" if record["eps"] is None else f"<br>{record['eps']:g}/255"
    return f"{escape(record['attack_title'])}{size}<br><small>{KNOWS[record['threat']]}</small>"


def _cell(record: dict | None) -> str:
    """The number with its interval, and both as a dot on a line from 0 to 100 per cent."""
    if record is None:
        return "–"
    value, low, high = (100 * record[f"accuracy{end}"] for end in ("", "_low", "_high"))
    drawn = (
        f'<span class="lp-interval" aria-hidden="true"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b style="left:{value:.1f}%"></b></span>'
    )
    return f"{value:.0f} <small>{low:.0f}–{high:.0f}</small>{drawn}"
