"""The report of a run on paper. The home of fpdf2.

Its own fonts know Latin-1 alone, so that nothing has to be installed or embedded: where the language spoken needs more,
such as Chinese, the words are English; in names from elsewhere what cannot be drawn is a question mark.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from fpdf import FPDF
from torch import Tensor

from purifier import __version__
from purifier.classifiers.classifier import Classifier
from purifier.pictures.files import to_png
from purifier.readings import Reading, bars, is_malignant
from purifier.reports.facts import NOTICE, Facts, as_json, facts_of
from purifier.runs import Cell, Run
from purifier.wording.language import ENGLISH, say, speaking, spoken
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

MARGIN, FOOT, WIDTH, GAP = 15.0, 20.0, 180.0, 4.0  # of A4, in mm
COLUMN, SIDE = 42.0, 20.0  # the width of four, and of the names beside a pyramid
FONT, FIXED = "Helvetica", "Courier"
BLACK, GREY, RED = (29, 37, 40), (69, 85, 90), (163, 50, 11)
LINE, GREEN, ORANGE, PALE, BLUE = (221, 228, 228), (19, 78, 74), (194, 87, 26), (255, 217, 189), (42, 120, 168)


class Paper(FPDF):
    """A4 pages with the notice and their number at the foot. ``undrawable`` are the characters that became "?"."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        self.undrawable: set[str] = set()
        self.set_margin(MARGIN)
        self.set_auto_page_break(True, FOOT)
        self.set_image_filter("FlateDecode")  # lossless
        self.c_margin = 0  # so that texts and pictures begin at the same edge

    def normalize_text(self, text: str) -> str:
        drawn = text.encode("latin-1", "replace").decode("latin-1")
        self.undrawable.update(before for before, after in zip(text, drawn, strict=True) if before != after)
        return super().normalize_text(drawn)

    def footer(self) -> None:
        self.set_y(-MARGIN)
        _font(self, 8, colour=GREY)
        self.cell(WIDTH / 2, 5, say(NOTICE))
        self.cell(WIDTH / 2, 5, say("Page {n} of {count}", n=self.page_no(), count="{nb}"), align="R")


def pdf_report(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> bytes:
    """The report as a PDF file, with the record attached as run.json. Arguments as of ``record``."""
    facts = facts_of(run, classifier, attacker, made)
    data, undrawable = _drawn(facts)
    if undrawable:
        with speaking(ENGLISH):
            english, of_names = _drawn(facts)
        if undrawable - of_names:  # those that English has too come from names, and are no fault of the language
            return english
    return data


def _drawn(facts: Facts) -> tuple[bytes, set[str]]:
    """The file, and the characters that could not be drawn."""
    paper = Paper()
    made = datetime.fromisoformat(facts.record["made"])
    paper.set_title(title())
    paper.set_subject(say(NOTICE))
    paper.set_creator(f"Lesion Purifier {__version__}")
    paper.set_creation_date(made)
    paper.set_lang(spoken())
    paper.embed_file(
        bytes=as_json(facts).encode(), basename="run.json", mime_type="application/json", modification_date=made
    )
    paper.add_page()
    _write(paper, facts)
    return bytes(paper.output()), paper.undrawable


def _write(paper: Paper, facts: Facts) -> None:
    run, readings = facts.run, facts.readings
    _text(paper, title(), 17, "B")
    _text(paper, byline(facts.record), 9, colour=GREY)
    _notice(paper)
    _heading(paper, say("Readings"))
    if verdict(readings):
        _text(paper, verdict(readings), 10, "B")
    _key(paper)
    _panels(paper, panels(run, readings))
    _heading(paper, say("Settings"))
    for text in in_words(run):
        _text(paper, text, 9)
    _tables(paper, settings_tables(run))
    if run.stages:
        _heading(paper, say("The purification, stage by stage"))
    for name, scales in blocks(run):
        for scale, cells in scales:
            _scale(paper, name, scale, cells, readings)
    _heading(paper, say("Limits"))
    for limit in limits():
        _text(paper, f"- {limit}", 9)
    _heading(paper, say("How to repeat it"))
    _text(paper, how_to_repeat(), 9)
    _text(paper, COMMAND, 9, family=FIXED)
    _text(paper, say("The record with the settings is attached to this file as run.json."), 9)
    _heading(paper, say("Hashes"))
    _text(paper, about_hashes(), 9)
    paper.ln(1)
    _table(paper, hash_rows(facts.record), family=FIXED)
    _heading(paper, say("Origin"))
    _table(paper, origin_rows(facts.record))
    _notice(paper)


def _font(
    paper: Paper, size: float, style: str = "", *, colour: tuple[int, int, int] = BLACK, family: str = FONT
) -> float:
    """Write in it from now on; the height of a line, in mm."""
    paper.set_font(family, style, size)
    paper.set_text_color(*colour)
    return 0.45 * size


def _text(
    paper: Paper,
    text: str,
    size: float,
    style: str = "",
    *,
    colour: tuple[int, int, int] = BLACK,
    family: str = FONT,
    width: float = WIDTH,
) -> None:
    """A paragraph; the next thing begins below it, at its left edge."""
    height = _font(paper, size, style, colour=colour, family=family)
    paper.multi_cell(width, height, text, align="L", new_x="LEFT", new_y="NEXT")


def _room(paper: Paper, height: float) -> None:
    """A new page where ``height`` does not fit on this one."""
    if paper.will_page_break(height):
        paper.add_page()


def _heading(paper: Paper, text: str) -> None:
    _room(paper, 30)
    paper.ln(5)
    paper.start_section(text)
    _text(paper, text, 12, "B")
    paper.set_draw_color(*GREEN)
    paper.line(MARGIN, paper.get_y(), MARGIN + WIDTH, paper.get_y())
    paper.ln(1.5)


def _notice(paper: Paper) -> None:
    _room(paper, 12)
    paper.ln(2)
    _font(paper, 10, "B", colour=(255, 255, 255))
    paper.set_fill_color(*GREEN)
    paper.cell(WIDTH, 7, f"  {say(NOTICE)}", fill=True, new_x="LMARGIN", new_y="NEXT")


def _tables(paper: Paper, tables: Sequence[tuple[str, Sequence[Row]]]) -> None:
    """Two side by side."""
    half = (WIDTH - 2 * GAP) / 2
    for i in range(0, len(tables), 2):
        pair = tables[i : i + 2]
        _room(paper, 8 + 5.5 * max(len(rows) for _, rows in pair))
        paper.ln(2)
        draw = [partial(_table, paper, rows, name, width=half, names=0.58 * half) for name, rows in pair]
        _across(paper, (MARGIN, MARGIN + half + 2 * GAP), draw)


def _table(
    paper: Paper, rows: Sequence[Row], name: str = "", *, width: float = WIDTH, names: float = 50, family: str = FONT
) -> None:
    """Names, ``names`` wide, and values."""
    left = paper.get_x()
    if name:
        _text(paper, name, 9, "B", width=width)
    for what, value in rows:
        _room(paper, 10)
        draw = (
            partial(_text, paper, what, 8.5, colour=GREY, width=names),
            partial(_text, paper, value, 8.5, family=family, width=width - names - GAP),
        )
        _across(paper, (left, left + names + GAP), draw)
        paper.set_draw_color(*LINE)
        paper.line(left, paper.get_y() + 0.4, left + width, paper.get_y() + 0.4)
        paper.set_xy(left, paper.get_y() + 0.8)


def _across(paper: Paper, edges: Sequence[float], draw: Sequence[Callable[[], None]]) -> None:
    """Draw side by side from this height on, and go on below the longest. There must be room."""
    top, bottom, breaks = paper.get_y(), paper.get_y(), paper.auto_page_break
    paper.set_auto_page_break(False)  # or one column would go on over the page, and the next begin there
    for edge, column in zip(edges, draw, strict=False):
        paper.set_xy(edge, top)
        column()
        bottom = max(bottom, paper.get_y())
    paper.set_auto_page_break(breaks, FOOT)
    paper.set_xy(MARGIN, bottom)


def _picture(paper: Paper, x: Tensor, alt: str, width: float) -> None:
    height = width * x.shape[-2] / x.shape[-1]
    left, top = paper.get_x(), paper.get_y()
    paper.image(to_png(x), left, top, width, height, alt_text=alt)
    paper.set_xy(left, top + height + 0.8)


def _panels(paper: Paper, shown: list[Panel]) -> None:
    """The pictures in a row, their parts at the same heights."""
    edges = [MARGIN + i * (COLUMN + GAP) for i in range(len(shown))]
    paper.ln(1)
    for part in (_panel_picture, _panel_headline, _panel_reading):
        _across(paper, edges, [partial(part, paper, panel) for panel in shown])


def _panel_picture(paper: Paper, panel: Panel) -> None:
    _text(paper, panel.title, 9, "B", width=COLUMN)
    _picture(paper, panel.x, panel.alt, COLUMN)
    _text(paper, panel.note, 7.5, colour=GREY, width=COLUMN)


def _panel_headline(paper: Paper, panel: Panel) -> None:
    if panel.reading is not None:
        paper.set_xy(paper.get_x(), paper.get_y() + 1)
        _text(paper, headline(panel.reading), 9, "B", width=COLUMN)


def _panel_reading(paper: Paper, panel: Panel) -> None:
    if panel.reading is None:
        return
    paper.set_xy(paper.get_x(), paper.get_y() + 0.5)
    for label, probability in bars(panel.reading):
        _bar(paper, label, probability, "B" if label == panel.reading.top else "")
    _text(paper, malignant_share(panel.reading), 7.5, colour=GREY, width=COLUMN)
    for doubt in doubts(panel.reading):
        _text(paper, doubt, 7.5, "B", colour=RED, width=COLUMN)


def _bar(paper: Paper, label: str, probability: float, style: str) -> None:
    """A line with a label and its probability, and a bar below it."""
    left, height = paper.get_x(), _font(paper, 7.5, style)
    paper.cell(COLUMN - 9, height, _fitted(paper, diagnosis(label), COLUMN - 9))
    paper.cell(9, height, f"{100 * probability:.0f} %", align="R", new_x="LEFT", new_y="NEXT")
    _strip(paper, left, paper.get_y(), max(probability * COLUMN, 0.2), label)
    paper.set_xy(left, paper.get_y() + 2.1)


def _strip(paper: Paper, left: float, top: float, width: float, label: str) -> None:
    """The bar alone: hatched where the label is malignant, so that colour alone does not tell."""
    paper.set_fill_color(*(PALE if is_malignant(label) else BLUE))
    paper.rect(left, top, width, 1.5, style="F")
    if is_malignant(label):
        paper.set_draw_color(*ORANGE)
        with paper.local_context(line_width=0.6), paper.rect_clip(left, top, width, 1.5):
            for i in range(int(width / 1.4) + 2):
                paper.line(left + 1.4 * i - 1.5, top + 1.5, left + 1.4 * i, top)


def _fitted(paper: Paper, text: str, width: float) -> str:
    """``text``, cut off where it is longer than ``width``."""
    while len(text) > 1 and paper.get_string_width(text) > width:
        text = f"{text.removesuffix('...')[:-1]}..."
    return text


def _key(paper: Paper) -> None:
    paper.ln(1)
    for label, text in (("MEL", say("malignant or precancerous")), ("NV", say("other diagnoses"))):
        _strip(paper, paper.get_x(), paper.get_y() + 1.2, 8, label)
        height = _font(paper, 8)
        paper.set_x(paper.get_x() + 10)
        paper.cell(paper.get_string_width(text) + 6, height, text)
    paper.ln(6)


def _scale(paper: Paper, block: str, scale: str, cells: list[Cell], readings: dict[str, Reading]) -> None:
    """One scale of a block: its four pictures with their readings."""
    height, width = cells[0][0].shape[-2:]
    column = (WIDTH - SIDE - 4 * GAP) / 4
    _room(paper, column * height / width + 22)
    paper.ln(1.5)

    def name() -> None:
        _text(paper, block, 8, colour=GREY, width=SIDE)
        _text(paper, scale, 9, "B", width=SIDE)
        _text(paper, f"{width} px", 8, colour=GREY, width=SIDE)

    def cell(step: str, pair: Cell) -> None:
        x, reading = pair
        _text(paper, step, 8, "B", width=column)
        _picture(paper, x, f"{block}, {scale}, {step}: {headline(reading)}", column)
        _text(paper, headline(reading), 8, width=column)
        _text(paper, likeness(reading, readings), 7.5, colour=GREY, width=column)

    shown = [partial(cell, step, pair) for step, pair in zip(step_names(), cells, strict=True)]
    edges = [MARGIN + SIDE + GAP + i * (column + GAP) for i in range(len(cells))]
    _across(paper, [MARGIN, *edges], [name, *shown])
