"""Every picture of a run as a PNG, with the report, in one archive."""

import io
import zipfile
from collections.abc import Iterator
from datetime import datetime

from purifier.classifiers.classifier import Classifier
from purifier.pictures.files import to_png
from purifier.reports.facts import Facts, as_json, facts_of
from purifier.reports.page import page_of
from purifier.runs import Run, amplification, perturbation
from purifier.wording.runs import scale_name

EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip archive can name
STEPS = ("before", "diffused", "denoised", "aggregated")  # of each stage


def stages_zip(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> bytes:
    """Every picture as a PNG, to the bit, with the record and the page. Arguments as of ``record``.

    The same run and time give the same bytes.
    """
    facts, archive = facts_of(run, classifier, attacker, made), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in _files(facts):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    return archive.getvalue()


def _files(facts: Facts) -> Iterator[tuple[str, bytes]]:
    for name, x in facts.run.pictures().items():
        yield f"{name}.png", to_png(x)
        if name == "attacked":
            yield f"perturbation-x{amplification(facts.run)}.png", to_png(perturbation(facts.run))
    for stage, cells in facts.run.stages:
        folder = f"stages/block-{stage.block}/scale-{scale_name(stage.scale).replace('/', '_')}"
        for i, (step, (x, _)) in enumerate(zip(STEPS, cells, strict=True), start=1):
            yield f"{folder}/{i}-{step}.png", to_png(x)
    yield "run.json", as_json(facts).encode()
    yield "report.html", page_of(facts).encode()
