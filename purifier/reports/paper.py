"""The report of a run on paper: its page of HTML as a PDF, which static/report.css lays out. The home of WeasyPrint.

The fonts come with packages and are embedded, as far as they are used, so that every language we speak can be printed:
DejaVu with Matplotlib, and Noto Sans SC, which is under the SIL Open Font License and has no bold.
"""

from datetime import datetime

from pylopdf_fonts_zh_cn import sans_path

from purifier import __version__
from purifier.classifiers.classifier import Classifier
from purifier.figures import FONTS
from purifier.reports.facts import NOTICE, as_json, facts_of
from purifier.reports.page import STYLE, page_of
from purifier.runs import Run
from purifier.wording.language import say

NEEDS_PANGO = (
    "A PDF needs the library Pango, which is not installed (on Debian: libpangoft2-1.0-0). Or print the HTML report "
    "from a browser."
)
FACES = """
@font-face {{ font-family: paper; src: url({dejavu}/DejaVuSans.ttf) }}
@font-face {{ font-family: paper; font-weight: bold; src: url({dejavu}/DejaVuSans-Bold.ttf) }}
@font-face {{ font-family: fixed; src: url({dejavu}/DejaVuSansMono.ttf) }}
@font-face {{ font-family: chinese; src: url({chinese}) }}
body {{ font-family: paper, chinese }}
code, pre {{ font-family: fixed, chinese }}
@page {{ font-family: paper, chinese }}
"""


def can_print() -> bool:
    """Whether WeasyPrint finds Pango, which pip does not bring."""
    try:
        import weasyprint  # noqa: F401
    except OSError:
        return False
    return True


def pdf_report(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> bytes:
    """The report as a PDF file, with the record attached as run.json. Arguments as of ``record``.

    Raises ``FileNotFoundError`` without Pango, see ``can_print``.
    """
    if not can_print():
        raise FileNotFoundError(NEEDS_PANGO)
    from weasyprint import HTML, Attachment  # its import takes a second
    from weasyprint.text.fonts import FontConfiguration

    facts = facts_of(run, classifier, attacker, made)
    time, fonts = datetime.fromisoformat(facts.record["made"]), FontConfiguration()
    faces = FACES.format(dejavu=FONTS.as_uri(), chinese=sans_path().as_uri())
    page = page_of(facts, style=STYLE + faces, attached=True)
    paper = HTML(string=page).render(font_config=fonts, pdf_tags=True)
    paper.metadata.description, paper.metadata.created = say(NOTICE), time.isoformat()
    paper.metadata.generator = f"Lesion Purifier {__version__}"
    paper.metadata.attachments = [Attachment(string=as_json(facts), name="run.json", created=time, modified=time)]
    return paper.write_pdf(pdf_tags=True)
