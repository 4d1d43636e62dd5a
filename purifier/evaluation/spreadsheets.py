"""CSV files as spreadsheets save them: UTF-8 with or without a byte order mark, UTF-16 ("Unicode text") or Windows'
Western letters (cp1252), with commas, semicolons or tabs."""

import codecs
import csv
import io
import re
from pathlib import Path

WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what .xlsx and .xls files begin with
DELIMITERS = ",;\t|"
DECLARED = re.compile(r"sep=([,;\t|])", re.IGNORECASE)  # Excel's own first line


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Each row that is not empty, by the header's names, with its number in the file (the header is row 1).

    Names and cells are stripped; cells that a row lacks at its end are empty. Raises ``ValueError`` naming file and
    row.
    """
    lines = _lines(path)
    while lines and not any(lines[0][1]):
        lines = lines[1:]
    if not lines:
        return []
    header = lines[0][1]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column {', '.join(twice)}.")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(header):
            raise ValueError(
                f"{path}, row {number}, has {len(cells)} cells, and the header has {len(header)}. Numbers with a comma "
                "need quotation marks, or another delimiter."
            )
        cells += [""] * (len(header) - len(cells))
        if any(cells):
            rows.append((number, dict(zip(header, cells, strict=True))))
    return rows


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The cells of each row, stripped and without empty ones at the end, with the row's number."""
    data = path.read_bytes()
    if data.startswith(WORKBOOKS):
        raise ValueError(f"{path} is an Excel workbook of another name. Save it as CSV.")
    text = _text(data)
    first, _, rest = text.partition("\n")
    declared = DECLARED.fullmatch(first.strip().strip('"'))
    if declared:
        text = rest
    delimiter = declared[1] if declared else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    lines = []
    try:
        for number, row in enumerate(reader, start=1):
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            lines.append((number, cells))
    except csv.Error as error:
        raise ValueError(f"{path}, row {len(lines) + 1}, cannot be read: {error}.") from None
    return lines


def _text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:2]:  # UTF-16 without a byte order mark: a header's first letter is ASCII
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _delimiter(text: str) -> str:
    """What cuts the header into the most cells."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter), [])))
