"""The tab 'Robustness': what the committed evaluation found, assets/evaluation/<run>/summary.json."""

import functools
import re
from collections.abc import Iterable

import gradio as gr

from purifier.evaluation.intervals import Score
from purifier.results.plots import plot_convergence, plot_epsilon
from purifier.results.record import ENOUGH, Record, find, pooled, read_evaluations, strongest
from purifier.results.tables import overview, run_title, verdicts
from purifier.templates import Markup, render, say_html
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
NUMBER = "{percent:.0f} <small>{from_percent:.0f}–{to_percent:.0f}</small>"
AT_EQUAL_COST = (
    "Each family of defences may use the best of its settings, doing nothing among them, or the best mixture of two, "
    "that gives up at most so many points of accuracy on clean pictures."
)


def add_robustness(tab: gr.Tab) -> None:
    """Add the tab's components and events to the page that is being built."""
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
) -> Markup:
    """An overview of the classifiers; then for each of them and each choice of pictures, or the first ``most``, what
    was found, in sentences, a plot and a table, folded away but for the first."""
    groups, at_equal_cost = pooled(runs), {records[0].choice: records for records in tradeoffs}
    if not groups:
        return Markup("<p>{}</p>").format(say("No evaluation has been stored yet."))
    return render(
        "robustness.html",
        in_short=say_html(IN_SHORT),
        overview=overview(groups),
        runs=[_run(records, at_equal_cost.get(records[0].choice, [])) for records in groups[:most]],
        eps=EPS,
        share=_share,
        number=lambda score: Markup(score.written(NUMBER)),
    )


def _share(score: Score) -> Markup:
    return Markup(score.written(SHARE))


def _run(records: list[Record], at_equal_cost: list[Record]) -> dict:
    """What the template says of one choice of pictures."""
    conditions = list({r.condition: r for r in reversed(records)}.values())[::-1]
    hardest = strongest(records, EPS)
    return {
        "title": run_title(records),
        "attacked": _attacked(records),
        "plots": [drawing(f) for f in (plot_epsilon(records), plot_convergence(records)) if f is not None],
        "caption": _caption(records),
        "conditions": [_condition(r) for r in conditions],
        "rows": [
            {
                "title": title,
                "is_ours": defence == "mdda",
                "scores": [r and r.accuracy for r in (find(records, c.attack, c.eps, defence) for c in conditions)],
            }
            for defence, title in dict.fromkeys((r.defence, r.defence_title) for r in records)
        ],
        "verdicts": _verdicts(records, at_equal_cost),
        "strongest": hardest if hardest and hardest[0].n >= ENOUGH else [],
        "cost": _cost(records),
    }


def _attacked(records: list[Record]) -> dict[Markup, list[Markup]]:
    """For each attack on MDDA, every size at which it was made."""
    lines: dict[Markup, list[Markup]] = {}
    for r in records:
        if r.defence != "mdda" or r.clean:
            continue
        without = find(records, r.attack, r.eps, "none")
        shares = say_html("{share} with MDDA", share=_share(r.accuracy))
        if without is not None:
            shares = say_html("{before} without a defence, {share}", before=_share(without.accuracy), share=shares)
        if r.eps is not None:
            shares = say_html("at {eps:g}/255 {shares}", eps=r.eps, shares=shares)
        lines.setdefault(_attacker(r), []).append(shares)
    return lines


def _attacker(record: Record) -> Markup:
    attack = say(record.attacker.title)
    if record.adaptive:
        return say_html("{attack}, whose attacker <b>knows the defence</b>", attack=attack)
    return say_html("{attack}, whose attacker <b>does not know the defence</b>", attack=attack)


def _verdicts(records: list[Record], at_equal_cost: list[Record]) -> list[dict]:
    """Where MDDA is ahead of other defences, behind them, or not significantly different."""
    parts = (
        (say("MDDA beside the other defences"), "", records),
        (say("The same at equal cost on clean pictures"), say(AT_EQUAL_COST), at_equal_cost),
    )
    found = [(title, about, verdicts(some, titles=True)) for title, about, some in parts]
    return [{"title": title, "about": about, "lines": map(_inline, lines)} for title, about, lines in found if lines]


def _inline(line: str) -> Markup:
    """An item of a Markdown list, with its bold and code, as HTML."""
    text = str(Markup.escape(line.removeprefix("- ")))
    return Markup(re.sub(r"`(.+?)`", r"\1", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)))


def _cost(records: list[Record]) -> Markup | None:
    """What purification does on clean pictures, melanomas first."""
    for r in records:
        if r.clean and r.defence == "mdda" and r.melanoma_made_benign is not None:
            return say_html(
                "<b>Its cost on clean pictures:</b> MDDA makes {benign} of the melanomas that were recognised read "
                "as benign, and {broken} of all right readings wrong.",
                benign=_share(r.melanoma_made_benign),
                broken=_share(r.broken),
            )
    return None


def _caption(records: list[Record]) -> str:
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


def _condition(record: Record) -> Markup:
    """The heading of a column: the attack, its size, and what the attacker knows."""
    if record.clean:
        return Markup.escape(say("clean pictures"))
    size = "" if record.eps is None else Markup("<br>{:g}/255").format(record.eps)
    knows = say("knows the defence") if record.adaptive else say("does not know the defence")
    return Markup("{}{}<br><small>{}</small>").format(say(record.attacker.title), size, knows)
