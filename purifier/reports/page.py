"""The report as one page of HTML that loads nothing from anywhere."""

import base64
from datetime import datetime
from html import escape
from pathlib import Path

from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.pictures.files import to_png
from purifier.readings import Reading, bars, is_malignant
from purifier.reports.facts import NOTICE, Facts, as_json, facts_of
from purifier.runs import Cell, Run
from purifier.wording.language import say, spoken
from purifier.wording.readings import diagnosis, doubts, headline, malignant_share
from purifier.wording.runs import (
    COMMAND,
    Panel,
    Row,
    about_hashes,
    blocks,
    byline,
    hash_rows,
    how_to_repeat,
    in_words,
    likeness,
    limits,
    origin_rows,
    panels,
    settings_tables,
    step_names,
    title,
    verdict,
)

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def html_report(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> str:
    """The report as one page that loads nothing from anywhere. Arguments as of ``record``."""
    return page_of(facts_of(run, classifier, attacker, made))


def page_of(facts: Facts) -> str:
    """The page of facts that were found already."""
    run, readings = facts.run, facts.readings
    notice = f'<p class="notice" role="note">{escape(say(NOTICE))}</p>'
    cards = "".join(map(_card, panels(run, readings)))
    tables = "".join(_rows(*table) for table in settings_tables(run))
    sections = [
        _section(
            say("Readings"),
            f'<p class="together">{escape(verdict(readings))}</p>{_key()}<div class="cards">{cards}</div>',
        ),
        _section(say("Settings"), f'{_paragraphs(in_words(run))}<div class="tables">{tables}</div>'),
        _section(say("The purification, stage by stage"), "".join(_block(*b, readings) for b in blocks(run)))
        if run.stages
        else "",
        _section(say("Limits"), f"<ul>{''.join(f'<li>{escape(limit)}</li>' for limit in limits())}</ul>"),
        _section(say("How to repeat it"), _repeat(facts)),
        _section(say("Hashes"), f"<p>{escape(about_hashes())}</p>{_rows('', hash_rows(facts.record), code=True)}"),
        _section(say("Origin"), _rows("", origin_rows(facts.record))),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{spoken()}">\n<head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title())}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        f"<header><h1>{escape(title())}</h1><p>{escape(byline(facts.record))}</p>{notice}</header>\n"
        f"<main>\n{''.join(sections)}</main>\n<footer>{notice}</footer>\n</body>\n</html>\n"
    )


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{body}</section>\n"


def _paragraphs(texts: list[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _rows(caption: str, rows: list[Row], *, code: bool = False) -> str:
    kind = "code" if code else "span"
    body = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td><{kind}>{escape(value)}</{kind}></td></tr>' for what, value in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<table class="rows">{title}<tbody>{body}</tbody></table>'


def _image(x: Tensor, alt: str) -> str:
    """The picture as a PNG inside the page: to the bit what was read."""
    height, width = x.shape[-2:]
    data = base64.b64encode(to_png(x)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}">'


def _card(panel: Panel) -> str:
    body = ""
    if panel.reading is not None:
        doubted = "".join(f"<p>{escape(text)}</p>" for text in doubts(panel.reading))
        body = (
            f'<p class="headline">{_headline(panel.reading)}</p>{_reading(panel.reading)}'
            f'<p class="note">{escape(malignant_share(panel.reading))}</p><div class="doubt">{doubted}</div>'
        )
    return (
        f"<figure><figcaption>{escape(panel.title)}</figcaption>{_image(panel.x, panel.alt)}"
        f'<p class="note">{escape(panel.note)}</p>{body}</figure>'
    )


def _headline(reading: Reading) -> str:
    return escape(headline(reading)).replace(" %", "&nbsp;%")


def _reading(reading: Reading) -> str:
    rows = []
    for label, probability in bars(reading):
        top = ' class="top"' if label == reading.top else ""
        kind = "bar malignant" if is_malignant(label) else "bar"
        group = f'<span class="unseen"> ({escape(say("malignant or precancerous"))})</span>'
        rows.append(
            f'<tr{top}><th scope="row">{escape(diagnosis(label))}{group if is_malignant(label) else ""}'
            f'<span class="{kind}" style="inline-size:{100 * probability:.1f}%"></span></th>'
            f"<td>{100 * probability:.0f}&nbsp;%</td></tr>"
        )
    return f'<table class="reading"><tbody>{"".join(rows)}</tbody></table>'


def _key() -> str:
    return (
        f'<p class="key"><span><span class="bar malignant"></span>{escape(say("malignant or precancerous"))}</span>'
        f'<span><span class="bar"></span>{escape(say("other diagnoses"))}</span></p>'
    )


def _block(heading: str, rows: list[tuple[str, list[Cell]]], readings: dict[str, Reading]) -> str:
    head = "".join(f'<th scope="col">{escape(step)}</th>' for step in step_names())
    body = "".join(_scale(scale, cells, readings) for scale, cells in rows)
    return (
        f'<table class="stages"><caption>{escape(heading)}</caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _scale(name: str, cells: list[Cell], readings: dict[str, Reading]) -> str:
    filled = "".join(
        f'<td data-step="{escape(step)}">{_image(x, f"{name}, {step}")}<b>{_headline(reading)}</b>'
        f"<small>{escape(likeness(reading, readings))}</small></td>"
        for step, (x, reading) in zip(step_names(), cells, strict=True)
    )
    return f'<tr><th scope="row">{escape(name)}<small>{cells[0][0].shape[-1]} px</small></th>{filled}</tr>'


def _repeat(facts: Facts) -> str:
    text = as_json(facts)
    inside = text.replace("<", "\\u003c")  # or a name in it could end the script
    return (
        f"<p>{escape(how_to_repeat())}</p><pre>{escape(COMMAND)}</pre>"
        f"<details><summary>run.json</summary><pre>{escape(text)}</pre></details>"
        f'<script type="application/json" id="run">{inside}</script>'
    )
