"""What the committed evaluation found, as the page shows it: assets/evaluation/<run>/summary.json."""

from collections.abc import Iterable
from html import escape

KNOWS = {"oblivious": "does not know the defence", "adaptive": "knows the defence"}


def robustness_section(runs: Iterable[list[dict]]) -> str:
    """A table for each run; a sentence where there is none."""
    return "".join(map(_table, runs)) or "<p>No evaluation has been stored yet.</p>"


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
        f"Classifier {escape(records[0]['classifier'])}: pictures read rightly, in per cent, with the 95 % interval. "
        f"{pictures} held-out pictures; mean over {draws} draws where the defence draws noise."
    )
    return (
        f'<div class="lp-robustness" tabindex="0"><table><caption>{caption}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _condition(record: dict) -> str:
    if record["attack"] == "none":
        return "nobody attacks"
    size = "" if record["eps"] is None else f"<br>{record['eps']:g}/255"
    return f"{escape(record['attack_title'])}{size}<br><small>{KNOWS[record['threat']]}</small>"


def _cell(record: dict | None) -> str:
    if record is None:
        return "–"
    low, high = (100 * record[f"accuracy_{end}"] for end in ("low", "high"))
    return f"{100 * record['accuracy']:.0f} <small>{low:.0f}–{high:.0f}</small>"
