import base64
import re
from collections import Counter
from dataclasses import replace

import gradio as gr
import pytest
import torch

from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import read_image
from purifier.pipeline import Purifier
from purifier.results.record import read_evaluations
from purifier.runs import AT_ONCE, Attack, attack_steps, purified_readings
from purifier.smoothing import Certificate
from purifier.ui.controls import DRAWS, attack_from
from purifier.ui.evidence import essay as module
from purifier.ui.evidence.essay import all_records, claim_drawn, draw_once, essay, stored_cases
from purifier.ui.evidence.researchers import _radius, certified, spectrum_of
from purifier.ui.evidence.this_picture import dotted, every_defence, many_draws
from purifier.ui.session import Session
from purifier.wording.language import catalogue, speaking
from tests.helpers.paths import ROOT
from tests.helpers.records import around, detected, record

SETTINGS = (2, 8, 0.02, [1.0, 0.5], "rof")  # blocks, sigma, weight, scales, denoiser


@pytest.fixture(scope="module")
def session():
    x = read_image(ROOT / "assets" / "examples" / "NV-1.png")
    attack = Attack(settings=attack_from("pgd", 2, 10))
    *_, adv = attack_steps(load_classifier(), x, attack)
    return Session(original=x, attacked=adv, attack=attack)


def test_draws_differ_and_are_always_the_same_ones():
    x = read_image(ROOT / "assets" / "examples" / "NV-1.png", size=64)
    classifier, purifier = load_classifier(), Purifier(denoiser="rof", sigma=30 / 255, weight=0.0)
    twice = [[r for some in purified_readings(classifier, purifier, x, draws=10) for r in some] for _ in range(2)]
    tops, again = ([r.top for r in readings] for readings in twice)
    assert len(tops) == 10 and tops == again and not torch.equal(*(r.probabilities for r in twice[0][:2]))
    assert all(torch.equal(a.probabilities, b.probabilities) for a, b in zip(*twice, strict=True))


def test_each_yield_holds_all_that_was_drawn_so_far(session):
    said = [text for _, text in many_draws(session, DRAWS.low, *SETTINGS)]
    steps = 2 * -(-DRAWS.low // AT_ONCE)
    assert len(said) == steps and f"{2 * DRAWS.low} of {2 * DRAWS.low} times, done." in said[-1]
    only = list(many_draws(Session(original=session.original), DRAWS.low, *SETTINGS))
    assert "attacked picture" not in only[-1][0] and "which nobody attacked" in only[-1][0]


def test_a_radius_is_certified_or_it_abstains(session):
    *_, (text, _) = certified(session, 16, 50, *SETTINGS)
    assert "of 50 noisy draws" in text or "it abstains" in text


def test_a_label_of_somebody_s_is_no_html():
    found = Certificate(label=None, radius=0.0, share=0.4, alpha=0.001)
    text = _radius(Session(), found, ["<img src=x>", "b"], torch.tensor([3, 1]))
    assert "&lt;img src=x&gt;" in text and "<img" not in text and "<b>Nothing can be guaranteed" in text


def test_settings_out_of_range_are_answered(session):
    with pytest.raises(ValueError, match="Purifications of each picture must be a number from 8 to 400"):
        next(many_draws(session, 7, *SETTINGS))
    with pytest.raises(ValueError, match="Smoothing noise"):
        next(certified(session, 0, 100, *SETTINGS))
    with pytest.raises(ValueError, match="Draws must be"):
        next(every_defence(session, 0, *SETTINGS))


def test_each_draw_is_a_dot_in_the_row_of_its_diagnosis():
    html = dotted({"Attacked": Counter(NV=7, MEL=3), "Original": Counter(MEL=10)}, "MEL")
    parts = [re.findall(r"<tr.*?</tr>", part, re.DOTALL) for part in html.split("<section")[1:]]
    dots = [
        [(row.count('<i class="lp-malignant"'), row.count('<i class="lp-other"')) for row in rows] for rows in parts
    ]
    assert dots == [[(3, 0), (0, 7)], [(10, 0), (0, 0)]]  # melanoma first, in both
    assert [re.findall(r"<td>(\d+)</td>", "".join(rows)) for rows in parts] == [["3", "7"], ["10", "0"]]
    assert "as the original" in parts[0][0] and "as the original" not in parts[0][1]


def test_a_defence_that_does_nothing_reads_what_the_attack_made_of_it(session):
    html, _ = next(every_defence(session, 1, *SETTINGS))
    (tile,) = re.findall(r"<li>.*?</li>", html, re.DOTALL)
    reading = load_classifier().probabilities(session.attacked).argmax()
    original = load_classifier().probabilities(session.original).argmax()
    assert "<b>nothing</b>" in tile and "<img" in tile
    assert ("not restored" in tile) == (reading != original)


def test_every_tile_says_whether_the_original_s_reading_is_there(session):
    html = [html for html, _ in every_defence(session, 2, *SETTINGS)][-1]
    tiles = re.findall(r"<li>.*?</li>", html, re.DOTALL)
    back = sum("&#10003; restored" in tile for tile in tiles)
    assert len(tiles) == 15 and back == 15 - sum("&#10007; not restored" in tile for tile in tiles)
    assert f"{back} of 14 defences bring the original&#39;s reading back." in html
    assert sum("of 2 draws" in tile for tile in tiles) > 1  # of those that draw noise
    clean = [html for html, _ in every_defence(Session(original=session.original), 1, *SETTINGS)][-1]
    assert "&#10003; kept" in clean and "restored" not in clean


def test_the_tiles_are_translated_and_their_file_is_not(session, monkeypatch):
    for text, translated in {"nothing": "nichts", "After {defence}": "Nach {defence}"}.items():
        monkeypatch.setitem(catalogue("de"), text, translated)
    with speaking("de"):
        html, _ = next(every_defence(session, 1, *SETTINGS))
    assert "<b>nichts</b>" in html and 'alt="Nach nichts"' in html
    rows = file_in(html)
    assert rows[0].startswith("defence,read_as") and rows[1].startswith("nothing,")


def file_in(html):
    return base64.b64decode(re.search('text/csv;base64,([^"]+)', html)[1]).decode().splitlines()


def test_the_spectrum_is_of_what_the_attack_added_and_what_is_left(session):
    html = spectrum_of(session, 0, *SETTINGS).replace("\N{NO-BREAK SPACE}", " ")
    assert "<svg" in html and 0 < int(re.search(r"this attack, (\d+) % is left", html)[1])
    html = spectrum_of(session, 0, 1, 0, 0.0, [1.0], "rof")  # a purifier that does nothing
    assert "100\N{NO-BREAK SPACE}% is left" in html
    with pytest.raises(ValueError, match="Attack the picture"):
        spectrum_of(Session(original=session.original), 0, *SETTINGS)


def test_every_claim_has_its_words_figure_and_caption():
    chosen = [next(iter(found)) for found in stored_cases().values()]
    drawn = essay(*chosen)
    assert len(drawn) == 2 * len(stored_cases()) > 2
    for number, (words, figure) in enumerate(zip(drawn[::2], drawn[1::2], strict=True), 1):
        assert f"<h2><b>{number}</b>" in words and "currentColor" in figure
        caption = re.search("<figcaption>(.*?)</figcaption>", figure)[1].replace("\N{NO-BREAK SPACE}", " ")
        for said in ("held-out pictures", "95 % intervals", "draws", "attack"):
            assert said in caption.replace("Nobody attacks", "attack")


@pytest.fixture
def made_up(monkeypatch):
    """Records and a run of the alarm in place of what is stored."""
    runs = {
        "mine": [
            record(
                name,
                "none",
                broken=around(0.2),
                melanoma_made_benign=around(share),
                melanoma_sensitivity=around(0.9 - share),
            )
            for name, share in (("none", 0.0), ("mdda", 0.5), ("jpeg20", 0.1))
        ]
    }
    at_no_cost = dict(melanoma_made_benign=around(0.1), melanoma_sensitivity=around(0.5))
    runs["other"] = [replace(r, classifier="robust", **at_no_cost) for r in runs["mine"]]
    monkeypatch.setattr(module, "read_evaluations", lambda kind="summary": runs if kind == "summary" else {})
    found = {"mine": [detected(), detected("squeezing", area=0.7), detected(attack="evade20x4", area=0.5)]}
    monkeypatch.setattr(module, "read_detections", lambda: found)
    for cached in (stored_cases, module._claim):
        cached.cache_clear()
    yield found
    monkeypatch.undo()
    for cached in (stored_cases, module._claim):
        cached.cache_clear()


def test_another_classifier_has_another_claim_and_figure(made_up):
    one, two = (claim_drawn("costs", name) for name in ("augmented", "robust"))
    assert "It costs melanomas" in one[0] and "Whether it costs melanomas" in two[0] and one[1] != two[1]
    assert claim_drawn("costs", None) == ("<p>No evaluation has been stored yet.</p>", "")


def test_the_alarm_has_a_claim_where_it_was_measured(made_up):
    assert list(stored_cases()) == ["costs", "noticed"]
    words, figure = claim_drawn("noticed", "augmented, 2/255")
    assert "<h2><b>2</b><span>It helps to see that a picture was attacked, but not where the attacker" in words
    assert "feature squeezing" in figure and "evades the alarm" in figure.replace("\n", " ")
    with speaking("de"):
        assert "Sie hilft zu erkennen, dass ein Bild angegriffen wurde" in claim_drawn("noticed", "augmented, 2/255")[0]
    made_up.clear()
    stored_cases.cache_clear()
    assert list(stored_cases()) == ["costs"] and len(essay("augmented")) == 2


def test_it_is_drawn_once_in_each_language():
    draw = draw_once(lambda *values: ["drawn", *values], 2)
    assert draw("", "this") == ("drawn", "this", "en") and draw("en", "this") == (gr.skip(), gr.skip(), "en")
    with speaking("de"):
        assert draw("en", "this") == ("drawn", "this", "de")


def test_claims_and_records_are_translated_and_the_file_is_not():
    with speaking("de"):
        words, figure = claim_drawn("costs", "augmented")
        table, link = all_records()
    assert "Melanome" in words and "JPEG, Qualität 20" in figure
    assert table["headers"][2] == "Abwehr" and ["keine Abwehr", "niemand"] in [row[2:4] for row in table["data"]]
    rows = file_in(link)
    assert rows[0].startswith("classifier,pictures,defence,") and len(rows) == 1 + len(table["data"])
    assert len(rows) > len(read_evaluations()["augmented-balanced"])
