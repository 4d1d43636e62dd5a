import base64
import builtins
import copy
import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from pypdf import PdfReader

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import MODELS, AlarmCalibration, digest_of
from purifier.classifiers.taxonomy import full_name
from purifier.denoiser import digest_of_weights
from purifier.pictures.files import read_image, to_batch, to_png
from purifier.pipeline import Purifier
from purifier.readings import MOST_BARS, Reading, bars, distance, read
from purifier.reports import NOTICE, html_report, pdf_report, record, stages_zip
from purifier.runs import Attack, Run, Settings, amplified, hash_of, run
from purifier.wording.language import catalogue, languages, speaking
from purifier.wording.readings import agreement, change, headline, of_draws, suspicion
from purifier.wording.runs import COMMAND, limits
from tests.helpers.pictures import lesion_like

MADE = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
FACTOR = 32  # 0.5 / (4 / 255), rounded
VOID = {"meta", "img", "br", "link", "input"}
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
PARTS = {
    "nothing": Settings(),
    "attack": Settings(attack=Attack(settings=AttackSettings(eps=4 / 255, steps=2), target="NV")),
    "purification": Settings(purifier=Purifier(blocks=1, scales=(1,)), seed=3),
}


class Page(HTMLParser):
    """A page's tags with their attributes, its text, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self.open, self.data = [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside in ("style", "script"):
            self.data[inside] = data
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\xa0", " ").split())


@pytest.fixture(scope="module")
def picture():
    return to_batch(lesion_like(5, 224))


@pytest.fixture(scope="module")
def whole(picture, classifier) -> Run:
    attack = Attack(settings=AttackSettings(eps=4 / 255, steps=3), target="NV", seed=7)
    return run(Settings(attack=attack, purifier=Purifier(blocks=2, scales=(1, 0.5)), seed=11), picture, classifier)


@pytest.fixture(scope="module")
def page(whole, classifier) -> Page:
    return Page(html_report(whole, classifier, made=MADE))


@pytest.fixture(scope="module")
def paper(whole, classifier, pango) -> PdfReader:
    return PdfReader(io.BytesIO(pdf_report(whole, classifier, made=MADE)))


def shown(done: Run) -> list[torch.Tensor]:
    """Every picture of a report, in its order."""
    found = [done.original]
    if done.attacked is not None:
        found += [done.attacked, amplified(done.original, done.attacked, FACTOR)]
    found += [] if done.purified is None else [done.purified]
    return found + [x for _, cells in done.stages for x, _ in cells]


def words(reader: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def drawn(reader: PdfReader) -> int:
    return sum(len(re.findall(rb"/i\w+ Do", page.get_contents().get_data())) for page in reader.pages)


def test_the_record_goes_to_json_and_its_settings_come_back(whole, classifier):
    found = record(whole, classifier, made=MADE)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["settings"] == json.loads(whole.settings.to_json())
    assert Settings.from_json(text) == whole.settings
    assert found["notice"] == NOTICE and found["made"] == "2026-03-01T12:30:00+00:00"
    assert found["classifier"]["weights_sha256"] == digest_of(MODELS / "augmented") and "attacker" not in found
    assert set(found["versions"]) == {"lesion-purifier", "python", "torch", "torchvision", "timm", "numpy"}


def test_the_record_has_the_denoiser_s_weights_where_it_took_part(whole, classifier):
    rof, learned = (replace(whole.settings, purifier=Purifier(denoiser=name)) for name in ("rof", "learned"))
    known = replace(rof, attack=replace(rof.attack, known=learned.purifier))
    assert "denoiser" not in record(replace(whole, settings=rof), classifier)
    for settings in (learned, known):
        found = record(replace(whole, settings=settings), classifier)
        assert found["denoiser"]["weights_sha256"] == digest_of_weights()


def test_the_record_has_every_picture_s_hash_and_reading(whole, classifier):
    found = record(whole, classifier)["pictures"]
    readings = whole.readings(classifier)
    assert list(found) == ["original", "attacked", "purified"]
    for name, x in whole.pictures().items():
        assert found[name]["sha256"] == hash_of(x) and found[name]["size"] == [224, 224]
        assert found[name]["top"] == readings[name].top and found[name]["unsure"] == readings[name].unsure
        assert list(found[name]["reading"]) == classifier.labels
        assert list(found[name]["reading"].values()) == readings[name].probabilities.tolist()
    mean, (alone,) = whole.purified_reading, read(classifier, whole.purified)
    assert readings["purified"] is mean and not torch.equal(mean.probabilities, alone.probabilities)
    assert (found["purified"]["draws"], found["purified"]["agreeing"]) == (4, mean.agreeing)


def test_the_record_measures_the_perturbation(whole, classifier):
    found = record(whole, classifier)
    difference = (whole.attacked - whole.original).double()
    assert found["perturbation"]["linf"] == pytest.approx(4 / 255, abs=1e-6)
    assert found["perturbation"]["l2"] == pytest.approx(difference.square().sum().sqrt().item(), abs=1e-5)
    assert found["perturbation"]["psnr"] == pytest.approx(-10 * difference.square().mean().log10().item(), abs=1e-3)
    assert found["purified_against_original"] == distance(whole.original, whole.purified)


def test_pictures_that_are_the_same_are_no_distance_apart(picture):
    assert distance(picture, picture) == {"linf": 0, "l2": 0, "psnr": None}
    assert "to the bit" in change(picture, picture)


def test_an_attack_made_elsewhere_names_its_weights(whole, classifier, surrogate):
    attack = replace(whole.settings.attack, classifier="surrogate")
    other = replace(whole, settings=replace(whole.settings, attack=attack))
    found = record(other, classifier, attacker=surrogate)
    assert found["attacker"]["weights_sha256"] == digest_of(MODELS / "surrogate")
    text = Page(html_report(other, classifier)).text
    assert "made on another classifier, surrogate" in text and digest_of(MODELS / "surrogate") in text


def test_weights_of_the_hub_have_a_revision_and_no_digest(whole, classifier):
    from_hub = copy.copy(classifier)
    from_hub.source = "hf-hub:someone/lesions@0123abc"
    settings = replace(whole.settings, classifier="hf-hub:someone/lesions")
    found = record(replace(whole, settings=settings), from_hub)["classifier"]
    assert found == {"name": "hf-hub:someone/lesions", "source": from_hub.source}
    assert from_hub.source in Page(html_report(replace(whole, settings=settings), from_hub)).text


def test_the_page_is_whole_and_accessible(page):
    assert page.open == [] and page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1 and len(page.all("title")) == 1 and len(page.all("main")) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))
    assert page.text.count(NOTICE) >= 2


def test_the_page_loads_nothing(page, whole, classifier):
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert {"link", "iframe", "object", "a", "base"}.isdisjoint(tag for tag, _ in page.tags)
    assert page.all("script") == [{"type": "application/json", "id": "run"}]
    assert "url(" not in page.data["style"] and "@import" not in page.data["style"]
    assert "http:" not in html_report(whole, classifier) and "https:" not in html_report(whole, classifier)


def test_the_page_has_every_picture_to_the_bit(page, whole):
    files = [base64.b64decode(image["src"].partition(",")[2]) for image in page.all("img")]
    assert len(files) == 4 + 16
    for file, x in zip(files, shown(whole), strict=True):
        assert torch.equal(to_batch(Image.open(io.BytesIO(file))), x)


def test_a_known_diagnosis_is_named_and_makes_the_verdict_a_fact(whole, classifier):
    truth = whole.readings(classifier)["original"].top
    told = Page(html_report(replace(whole, truth=truth), classifier)).text
    assert (
        f"Known diagnosis: {full_name(truth)}." in told and agreement(*whole.readings(classifier).values()) not in told
    )
    assert record(replace(whole, truth=truth), classifier)["known_diagnosis"] == truth
    assert "Known diagnosis" not in Page(html_report(whole, classifier)).text
    assert "known_diagnosis" not in record(whole, classifier)


def test_an_attack_that_was_stopped_is_said_to_be(whole, classifier):
    attack = whole.settings.attack
    stopped = replace(whole, settings=replace(whole.settings, attack=replace(attack, stopped_after=1)))
    said = Page(html_report(stopped, classifier)).text
    assert f"After 1 of {attack.settings.steps} steps: {agreement(*whole.readings(classifier).values())}" in said
    assert "steps: " not in Page(html_report(whole, classifier)).text


def test_how_often_melanomas_are_recognised_stands_beside_what_was_not_purified_alone(whole, classifier):
    melanoma = replace(whole.purified_reading, probabilities=torch.eye(8)[0])
    assert melanoma.top == "MEL"
    said = Page(html_report(replace(whole, purified_reading=melanoma), classifier)).text
    original = whole.readings(classifier)["original"].top
    assert said.count("of melanomas that nobody attacked") == (original in ("MEL", "NV"))


def test_the_page_says_what_was_done_and_what_came_of_it(page, whole, classifier):
    readings = whole.readings(classifier).values()
    said = [
        of_draws(whole.purified_reading),
        "Draws averaged 4",
        agreement(*readings),
        f"{FACTOR} times as strong",
        "4/255",
        "to be read as Melanocytic nevus",
        COMMAND,
    ]
    said += [headline(reading) for reading in readings] + [hash_of(x) for x in whole.pictures().values()]
    said += [*limits(), "did not know of the purifier", "Block 2 of 2", "Scale 1/2", "2026-03-01 12:30:00 UTC"]
    said += [digest_of(MODELS / "augmented"), str(torch.__version__).partition("+")[0]]
    assert [text for text in said if text not in page.text] == []


@pytest.mark.parametrize("highest, attacked", [(0.0, True), (20.0, False)])
def test_the_alarm_is_reported(whole, classifier, monkeypatch, highest, attacked):
    purifier, scores = whole.settings.purifier, (0.0,) * 90 + (highest,) * 10
    made = AlarmCalibration(purifier=purifier, draws=4, weights="", scores=scores)
    monkeypatch.setattr(classifier, "calibration", replace(classifier.calibration, alarm=made))
    alarm = whole.alarm(classifier, whole.readings(classifier))
    assert alarm.attacked is attacked and suspicion(alarm) in Page(html_report(whole, classifier)).text
    stored = record(whole, classifier)["alarm"]
    assert stored == {"score": alarm.score, "false_alarm_rate": alarm.false_alarm_rate, "attacked": attacked}


def test_the_alarm_is_about_what_was_purified(whole, classifier):
    readings = whole.readings(classifier)
    alone = replace(whole, original=whole.attacked, attacked=None)
    alarm = alone.alarm(classifier, alone.readings(classifier))
    assert alarm.score == pytest.approx(whole.alarm(classifier, readings).score, abs=1e-5)
    assert replace(whole, purified=None).alarm(classifier, readings) is None
    assert "alarm" not in record(replace(whole, purified=None), classifier)


def test_an_attacker_who_knew_the_purifier_is_reported(whole, classifier):
    attack = replace(whole.settings.attack, known=Purifier(blocks=5))
    text = Page(html_report(replace(whole, settings=replace(whole.settings, attack=attack)), classifier)).text
    assert "The attacker knew the purifier (blocks: 5;" in text and "Purifier that the attacker knew" in text


def test_what_is_malignant_is_hatched_and_named_so(page, whole, classifier):
    kinds = [span["class"] for span in page.all("span") if "style" in span]
    of_each = ["lp-malignant" if label in ("MEL", "BCC", "AK", "SCC") else "lp-other" for label in classifier.labels]
    assert kinds == of_each * 3
    assert page.text.count("(malignant or precancerous)") == 4 * 3


def test_the_page_s_json_repeats_the_run_to_the_bit(page, classifier, whole):
    found = json.loads(page.data["script"])
    file = stages_zip(whole, classifier)
    original = read_image(zipfile.ZipFile(io.BytesIO(file)).read("original.png"))
    again = run(Settings.from_json(page.data["script"]), original, classifier)
    assert {name: hash_of(x) for name, x in again.pictures().items()} == {
        name: about["sha256"] for name, about in found["pictures"].items()
    }


def test_what_comes_from_outside_stays_text(whole, classifier, pango):
    evil = copy.copy(classifier)
    evil.labels, evil.source = [EVIL, *classifier.labels[1:]], f"hf-hub:{EVIL}@main"
    settings = replace(whole.settings, classifier=EVIL, attack=replace(whole.settings.attack, target=EVIL))
    text = html_report(replace(whole, settings=settings), evil)
    page = Page(text)
    assert EVIL not in text and EVIL in page.text
    assert len(page.all("script")) == 1 and not any("onerror" in image for image in page.all("img"))
    assert Settings.from_json(page.data["script"]) == settings
    pdf_report(replace(whole, settings=settings), evil)


@pytest.mark.parametrize("name", PARTS)
def test_a_run_may_lack_attack_or_purification(name, picture, classifier, pango):
    done = run(PARTS[name], picture, classifier)
    page = Page(html_report(done, classifier))
    reader = PdfReader(io.BytesIO(pdf_report(done, classifier)))
    assert page.open == [] and Settings.from_json(page.data["script"]) == done.settings
    assert len(page.all("img")) == len(shown(done)) == drawn(reader)
    for text in (page.text, words(reader)):
        assert ("The picture was not attacked." in text) == (done.attacked is None)
        assert ("No picture was purified." in text) == (done.purified is None)
        assert ("stage by stage" in text) == bool(done.stages)
    assert ("perturbation" in record(done, classifier)) == (done.attacked is not None)


def test_a_run_without_its_stages_is_reported(whole, classifier):
    page = Page(html_report(replace(whole, stages=()), classifier))
    assert len(page.all("img")) == 4 and "stage by stage" not in page.text


def test_the_archive_has_every_picture_to_the_bit(whole, classifier):
    archive = zipfile.ZipFile(io.BytesIO(stages_zip(whole, classifier, made=MADE)))
    steps = ("1-before", "2-diffused", "3-denoised", "4-aggregated")
    stages = [f"stages/block-{b}/scale-{s}/{step}.png" for b in (1, 2) for s in ("1", "1_2") for step in steps]
    names = ["original.png", "attacked.png", f"perturbation-x{FACTOR}.png", "purified.png", *stages]
    assert archive.namelist() == [*names, "run.json", "report.html"]
    for name, x in zip(names, shown(whole), strict=True):
        assert archive.read(name) == to_png(x) and torch.equal(to_batch(Image.open(archive.open(name))), x)
    assert json.loads(archive.read("run.json")) == json.loads(json.dumps(record(whole, classifier, made=MADE)))
    assert archive.read("report.html").decode() == html_report(whole, classifier, made=MADE)


def test_archives_of_one_run_differ_in_the_time_alone(whole, classifier):
    first, again = (stages_zip(whole, classifier, made=MADE) for _ in range(2))
    later = stages_zip(whole, classifier, made=MADE.replace(year=2027))
    assert first == again != later
    first, later = (zipfile.ZipFile(io.BytesIO(file)) for file in (first, later))
    assert {name for name in first.namelist() if first.read(name) != later.read(name)} == {"run.json", "report.html"}
    assert later.read("run.json").decode().replace("2027", "2026") == first.read("run.json").decode()
    assert {entry.date_time for entry in first.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_paper_says_what_the_page_says(paper, whole, classifier):
    text, readings = words(paper), whole.readings(classifier).values()
    said = [
        of_draws(whole.purified_reading),
        "Draws averaged",
        NOTICE,
        agreement(*readings),
        f"{FACTOR} times as strong",
        COMMAND,
        "Scale 1/2",
        "2026-03-01 12:30:00 UTC",
    ]
    said += [headline(reading) for reading in readings] + [hash_of(x) for x in whole.pictures().values()]
    said += [*limits(), "Basal cell carcinoma", f"Page 1 of {len(paper.pages)}", digest_of(MODELS / "augmented")]
    assert [part for part in said if part not in text] == []
    assert paper.metadata.title == "Lesion Purifier: report of a run" and paper.root_object["/Lang"] == "en"
    assert Settings.from_json(paper.attachments["run.json"][0]) == whole.settings


def test_the_paper_has_every_picture_to_the_bit(paper, whole):
    assert drawn(paper) == len(shown(whole)) == 20
    found = {hash_of(to_batch(image.image.convert("RGB"))) for page in paper.pages for image in page.images}
    assert found == {hash_of(x) for x in shown(whole)}


def test_the_paper_s_pictures_have_alternative_texts(whole, classifier, pango):
    reader = PdfReader(io.BytesIO(pdf_report(whole, classifier)))
    objects = [reader.get_object(i) for i in range(1, reader.trailer["/Size"])]
    figures = [found for found in objects if isinstance(found, dict) and found.get("/S") == "/Figure"]
    assert len(figures) == 20 and all(figure["/Alt"] for figure in figures)


def test_german_umlauts_come_out(whole, classifier, monkeypatch, pango):
    words_of = {NOTICE: "Für Forschung und Übung; kein Medizinprodukt.", "Limits": "Größte Schwächen"}
    for text, translated in words_of.items():
        monkeypatch.setitem(catalogue("de"), text, translated)
    named = replace(whole, settings=replace(whole.settings, classifier="黑色素瘤"))
    with speaking("de"):
        page, file = Page(html_report(whole, classifier)), pdf_report(named, classifier)
    reader = PdfReader(io.BytesIO(file))
    assert page.all("html") == [{"lang": "de"}] and all(text in page.text for text in words_of.values())
    assert all(text in words(reader) for text in words_of.values()) and reader.root_object["/Lang"] == "de"
    assert "黑色素瘤" in words(reader)


def test_chinese_is_on_the_page_and_on_the_paper(whole, classifier, monkeypatch, pango):
    for text, translated in {NOTICE: "仅供研究和教学；不是医疗器械。", "Melanocytic nevus": "黑色素细胞痣"}.items():
        monkeypatch.setitem(catalogue("zh"), text, translated)
    with speaking("zh"):
        page, file = Page(html_report(whole, classifier)), pdf_report(whole, classifier)
    reader = PdfReader(io.BytesIO(file))
    assert (
        page.all("html") == [{"lang": "zh"}] and page.text.count("仅供研究和教学") == 2 and "黑色素细胞痣" in page.text
    )
    text = words(reader)
    assert text.count("仅供研究和教学；不是医疗器械。") == 2 + len(reader.pages) and "黑色素细胞痣" in text
    assert NOTICE not in text and "Melanocytic nevus" not in text
    assert reader.root_object["/Lang"] == "zh"


@pytest.mark.parametrize("language", languages())
def test_the_paper_s_fonts_are_embedded(whole, classifier, language, pango):
    with speaking(language):
        reader = PdfReader(io.BytesIO(pdf_report(whole, classifier)))
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]
    descriptors = [font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object() for font in fonts]
    names = {str(one["/FontName"]).partition("+")[2].removesuffix("-Bold") for one in descriptors}
    assert all({"/FontFile2", "/FontFile3"} & set(one) for one in descriptors)
    assert {"paper", "fixed"} <= names <= {"paper", "fixed", "chinese"} and ("chinese" in names) == (language == "zh")


def test_after_printing_damaged_pictures_are_refused_as_before(whole, classifier):
    pdf_report(whole, classifier)  # whose library allows them, as it is imported, in the whole process
    with pytest.raises(ValueError, match="damaged or cut off"):
        read_image(to_png(whole.original)[:2000])


def test_without_pango_the_paper_says_what_is_missing(whole, classifier, monkeypatch):
    def without(name, *rest, found=builtins.__import__):
        if name.startswith("weasyprint"):
            raise OSError("cannot load library 'libpango-1.0-0'")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FileNotFoundError, match="print the HTML report from a browser"):
        pdf_report(whole, classifier)


def reading(top: str) -> Reading:
    labels = ["MEL", "NV", "BCC"]
    return Reading(labels, torch.tensor([0.8 if label == top else 0.1 for label in labels]))


@pytest.mark.parametrize(
    ("tops", "said"),
    [
        (("MEL", "NV", "MEL"), "brought the original's back"),
        (("MEL", "NV", "BCC"), "disagree"),
        (("MEL", "MEL", "NV"), "disagree"),
        (("MEL", None, "NV"), "disagree"),
        (("MEL", None, "MEL"), "agree, which"),
        (("MEL", "NV", None), "disagree"),
        (("MEL", None, None), ""),
    ],
)
def test_what_readings_say_together(tops, said):
    text = agreement(*(None if top is None else reading(top) for top in tops))
    assert said in text and bool(said) == bool(text)


def test_of_a_thousand_labels_the_likeliest_have_bars():
    probabilities = torch.arange(1000.0).softmax(dim=0)
    found = bars(Reading([f"class {i}" for i in range(1000)], probabilities))
    assert [label for label, _ in found] == [f"class {i}" for i in range(999, 999 - MOST_BARS, -1)]
    assert [label for label, _ in bars(reading("NV"))] == ["MEL", "NV", "BCC"]
