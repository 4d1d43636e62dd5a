"""The tab 'Robustness': what the committed evaluation found, assets/evaluation/<run>/summary.json."""

import functools
import re
from collections.abc import Iterable
from html import escape

import gradio as gr

from purifier.results.plots import plot_convergence, plot_epsilon
from purifier.results.record import ENOUGH, Record, find, read_evaluations, strongest, together
from purifier.results.tables import overview, run_title, verdicts
from purifier.ui.events import in_language
from purifier.ui.view import drawing
from purifier.wording.language import say, speaking, spoken

IN_SHORT = (
    "The share of held-out pictures that are read rightly, with its 95 % interval: without an attack, attacked by "
    "someone who <b>does not know</b> the purifier (oblivious), and by someone who <b>knows</b> it (adaptive). "
    "Compare along a row: each has its own choice of pictures. A choice is balanced over the diagnoses as far as "
    "there are pictures, but for that of 504, which is as they come; what one would reach by always giving the same "
    "answer stands beside it."
)
EPS = 2.0  # in 1/255, at which the strongest attacks are shown
SHARE = "{percent:.0f} % <small>({from_percent:.0f}–{to_percent:.0f})</small>"
AT_EQUAL_COST = (
    "Each family of defences may use the best of its settings, doing nothing among them, or the best mixture of two, "
    "that gives up at most so many points of accuracy on clean pictures."
)


def add_robustness(tab: gr.Tab) -> None:
    # All of it takes seconds to draw, which the page's start is spared.
    section, shown = gr.HTML(robustness_section(read_evaluations().values(), most=1)), gr.State("")
    tab.select(in_language(drawn), shown, [section, shown], api_visibility="private", show_progress="hidden")


def drawn(shown: str) -> tuple:
    """The whole section in the language spoken, unless it is there already."""
    section = gr.skip() if shown == spoken() else section_in(spoken())
    return section, spoken()


@functools.cache
def section_in(language: str) -> str:
    """Drawn once for all visitors."""
    with speaking(language):
        return robustness_section(read_evaluations().values(), read_evaluations(kind="tradeoff").values())


def robustness_section(
    runs: Iterable[list[Record]], tradeoffs: Iterable[list[Record]] = (), most: int | None = None
) -> str:
    """An overview of the classifiers; then for each of them and each choice of pictures, or the first ``most``, what
    was found, in sentences, a plot and a table, folded away but for the first."""
    groups, at_equal_cost = together(runs), {records[0].choice: records for records in tradeoffs}
    if not groups:
        return f"<p>{say('No evaluation has been stored yet.')}</p>"
    return _overview(groups) + "".join(
        _run(records, at_equal_cost.get(records[0].choice, []), i == 0) for i, records in enumerate(groups[:most])
    )


def _overview(groups: list[list[Record]]) -> str:
    found = overview(groups)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in found.columns)
    body = "".join(
        f'<tr><th scope="row">{name.strip("`")}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, *cells in found.itertuples(index=False)
    )
    return (
        f"<h2>{say('In short')}</h2><p>{say(IN_SHORT)}</p>"
        f'<div class="lp-robustness" tabindex="0" role="region" aria-label="{escape(say("Overview of accuracies"))}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _run(records: list[Record], at_equal_cost: list[Record], is_open: bool) -> str:
    plot = "".join(  # which say what the table says
        f'<div class="lp-plot" aria-hidden="true">{drawing(figure)}</div>'
        for figure in (plot_epsilon(records), plot_convergence(records))
        if figure is not None
    )
    return (
        f'<details class="lp-evaluation"{" open" if is_open else ""}><summary>{escape(run_title(records))}</summary>'
        f"{_says(records)}{plot}{_table(records)}{_verdicts(records, at_equal_cost)}{_strongest(records)}"
        f"{_costs(records)}</details>"
    )


def _says(records: list[Record]) -> str:
    """A sentence for each attack on MDDA, with every size at which it was made."""
    lines: dict[str, list[str]] = {}
    for r in records:
        if r.defence != "mdda" or r.clean:
            continue
        without = find(records, r.attack, r.eps, "none")
        shares = say("{share} with MDDA", share=r.accuracy.written(SHARE))
        if without is not None:
            before = without.accuracy.written(SHARE)
            shares = say("{before} without a defence, {share}", before=before, share=shares)
        if r.eps is not None:
            shares = say("at {eps:g}/255 {shares}", eps=r.eps, shares=shares)
        lines.setdefault(_attacker(r), []).append(shares)
    said = "".join(f"<li>{start}: {'; '.join(parts)}.</li>" for start, parts in lines.items())
    return f"<p>{say('Read rightly:')}</p><ul>{said}</ul>" if said else ""


def _attacker(record: Record) -> str:
    attack = escape(say(record.attacker.title))
    if record.adaptive:
        return say("{attack}, whose attacker <b>knows the defence</b>", attack=attack)
    return say("{attack}, whose attacker <b>does not know the defence</b>", attack=attack)


def _verdicts(records: list[Record], at_equal_cost: list[Record]) -> str:
    """Where MDDA is ahead of other defences, behind them, or cannot be told from them."""
    parts = (
        (say("MDDA beside the other defences"), "", records),
        (say("The same at equal cost on clean pictures"), f"<p>{say(AT_EQUAL_COST)}</p>", at_equal_cost),
    )
    html = ""
    for title, explained, found in parts:
        lines = "".join(f"<li>{_inline(line.removeprefix('- '))}</li>" for line in verdicts(found, titles=True))
        html += f"<h3>{title}</h3>{explained}<ul>{lines}</ul>" if lines else ""
    return html


def _strongest(records: list[Record]) -> str:
    """What the strongest attack on each defence leaves."""
    found = strongest(records, EPS)
    if not found or found[0].n < ENOUGH:
        return ""
    shares = "".join(
        f"<li>{escape(say(r.defence_title))}: {r.accuracy.written(SHARE)} ({escape(say(r.attacker.title))})</li>"
        for r in found
    )
    title = say("What the strongest attacker who knows the defence leaves, at {eps:g}/255", eps=EPS)
    return f"<h3>{title}</h3><ul>{shares}</ul>"


def _inline(text: str) -> str:
    """Bold and code of Markdown as HTML."""
    return re.sub(r"`(.+?)`", r"\1", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text)))


def _costs(records: list[Record]) -> str:
    """What purification does on clean pictures, melanomas first."""
    for r in records:
        if r.clean and r.defence == "mdda" and r.melanoma_made_benign is not None:
            text = say(
                "<b>Its cost on clean pictures:</b> MDDA makes {benign} of the melanomas that were recognised read "
                "as benign, and {broken} of all right readings wrong.",
                benign=r.melanoma_made_benign.written(SHARE),
                broken=r.broken.written(SHARE),
            )
            return f"<p>{text}</p>"
    return ""


def _table(records: list[Record]) -> str:
    conditions = list({r.condition: r for r in reversed(records)}.values())[::-1]
    head = "".join(f'<th scope="col">{_condition(r)}</th>' for r in conditions)
    rows = []
    for defence, title in dict.fromkeys((r.defence, r.defence_title) for r in records):
        cells = "".join(f"<td>{_cell(find(records, r.attack, r.eps, defence))}</td>" for r in conditions)
        ours = ' class="lp-top"' if defence == "mdda" else ""
        rows.append(f'<tr{ours}><th scope="row">{escape(say(title))}</th>{cells}</tr>')
    return (
        '<div class="lp-robustness" tabindex="0" role="region" '
        f'aria-label="{escape(say("Table of accuracies"))}"><table><caption>{_table_caption(records)}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _table_caption(records: list[Record]) -> str:
    counts, draws = sorted({r.n for r in records}), max(r.draws for r in records)
    if len(counts) == 1:
        pictures = say("{n} held-out pictures", n=counts[0])
    else:
        pictures = say("{least} to {most} held-out pictures", least=counts[0], most=counts[-1])
    return say(
        "Pictures read rightly, in per cent, with the 95 % interval. {pictures}; mean over {draws} draws where the "
        "defence draws noise.",
        pictures=pictures,
        draws=draws,
    )


def _condition(record: Record) -> str:
    if record.clean:
        return say("clean pictures")
    size = "" if record.eps is None else f"<br>{record.eps:g}/255"
    knows = say("knows the defence") if record.adaptive else say("does not know the defence")
    return f"{escape(say(record.attacker.title))}{size}<br><small>{knows}</small>"


def _cell(record: Record | None) -> str:
    """The number with its interval, and both as a dot on a line from 0 to 100 per cent."""
    if record is None:
        return "–"
    score = record.accuracy
    drawn = (
        f'<span class="lp-interval" aria-hidden="true"><i style="left:{100 * score.low:.1f}%;'
        f'width:{100 * (score.high - score.low):.1f}%"></i><b style="left:{100 * score.value:.1f}%"></b></span>'
    )
    return score.written("{percent:.0f} <small>{from_percent:.0f}–{to_percent:.0f}</small>") + drawn
