"""What the committed evaluation found, as the page shows it: assets/evaluation/<run>/summary.json."""

import re
from collections.abc import Iterable
from html import escape

from purifier.evaluation.tables import overview, run_title, together, verdicts
from purifier.figures import as_svg, plot_epsilon

KNOWS = {"oblivious": "does not know the defence", "adaptive": "knows the defence"}


def robustness_section(runs: Iterable[list[dict]]) -> str:
    """An overview of the classifiers; then for each of them and each choice of pictures what was found, in sentences, a
    plot and a table, folded away but for the first."""
    groups = together(runs)
    if not groups:
        return "<p>No evaluation has been stored yet.</p>"
    return _overview(groups) + "".join(_run(records, i == 0) for i, records in enumerate(groups))


def _overview(groups: list[list[dict]]) -> str:
    header, rows = overview(groups)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{name.strip("`")}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return (
        "<h2>In short</h2><p>The share of held-out pictures that are read rightly, with its 95 % interval: "
        "without an attack, attacked by someone who <b>does not know</b> the purifier (oblivious), and by someone who "
        "<b>knows</b> it (adaptive). Compare along a row: each has its own choice of pictures, the large ones as they "
        "come, most of them nevi, the small ones balanced over the diagnoses and so harder.</p>"
        '<div class="lp-robustness" tabindex="0" role="region" aria-label="Overview of accuracies"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _run(records: list[dict], is_open: bool) -> str:
    figure = plot_epsilon(records)
    plot = ""
    if figure is not None:  # which says what the table says
        plot = f'<div class="lp-plot" aria-hidden="true">{as_svg(figure)}</div>'
    return (
        f'<details class="lp-evaluation"{" open" if is_open else ""}><summary>{escape(run_title(records))}</summary>'
        f"{_says(records)}{plot}{_table(records)}{_verdicts(records)}{_costs(records)}</details>"
    )


def _says(records: list[dict]) -> str:
    """A sentence for each attack on MDDA, with every size at which it was made."""
    found = {(r["attack"], r["eps"], r["defence"]): r for r in records}
    lines: dict[str, list[str]] = {}
    for r in records:
        if r["defence"] != "mdda" or r["attack"] == "none":
            continue
        without = found.get((r["attack"], r["eps"], "none"))
        before = "" if without is None else f"{_share(without, 'accuracy')} without a defence, "
        size = "" if r["eps"] is None else f"at {r['eps']:g}/255 "
        start = f"{escape(r['attack_title'])}, whose attacker <b>{KNOWS[r['threat']]}</b>"
        lines.setdefault(start, []).append(f"{size}{before}{_share(r, 'accuracy')} with MDDA")
    said = "".join(f"<li>{start}: {'; '.join(parts)}.</li>" for start, parts in lines.items())
    return f"<p>Read rightly:</p><ul>{said}</ul>" if said else ""


def _verdicts(records: list[dict]) -> str:
    """Where MDDA is ahead of other defences, behind them, or cannot be told from them."""
    lines = "".join(f"<li>{_inline(line.removeprefix('- '))}</li>" for line in verdicts(records, "_title"))
    return f"<h3>MDDA beside the other defences</h3><ul>{lines}</ul>" if lines else ""


def _inline(text: str) -> str:
    """Bold and code of Markdown as HTML."""
    return re.sub(r"`(.+?)`", r"\1", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text)))


def _costs(records: list[dict]) -> str:
    """What purification does where nobody attacked, melanomas first."""
    for r in records:
        if r["attack"] == "none" and r["defence"] == "mdda" and r["melanoma_made_benign"] is not None:
            return (
                "<p><b>Its cost where nobody attacks:</b> MDDA makes "
                f"{_share(r, 'melanoma_made_benign')} of the melanomas that were recognised read as benign, and "
                f"{_share(r, 'broken')} of all right readings wrong.</p>"
            )
    return ""


def _share(record: dict, score: str) -> str:
    value, low, high = (100 * record[f"{score}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.0f} % <small>({low:.0f}–{high:.0f})</small>"


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
