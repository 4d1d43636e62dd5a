from purifier.pictures.files import quantise, read_image
from purifier.reports import NEEDS_PANGO
from purifier.ui import take_away
from purifier.ui.session import Session
from tests.helpers.paths import ROOT


def test_without_pango_the_other_files_are_there(monkeypatch, pango):
    session = Session(original=quantise(read_image(ROOT / "assets" / "examples" / "NV-1.png")))
    *_, whole = take_away.report_links(session)
    monkeypatch.setattr(take_away, "can_print", lambda: False)
    *_, rest = take_away.report_links(session)
    names = ["report.html", "report.pdf", "stages.zip", "run.json"]
    assert [name in whole.report for name in names] == [True] * 4 and "is ready" in whole.report_status
    assert [name in rest.report for name in names] == [True, False, True, True] and NEEDS_PANGO in rest.report_status
