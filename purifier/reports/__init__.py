"""Reports of a run: its record for JSON, a page of HTML, paper (PDF), and an archive of every picture.

Pictures are batches of one, (1, 3, H, W), with 8-bit values. The words are in the language spoken.
"""

from purifier.reports.archive import stages_zip
from purifier.reports.facts import NOTICE, record
from purifier.reports.page import html_report
from purifier.reports.paper import NEEDS_PANGO, can_print, pdf_report

__all__ = ["NEEDS_PANGO", "NOTICE", "can_print", "html_report", "pdf_report", "record", "stages_zip"]
