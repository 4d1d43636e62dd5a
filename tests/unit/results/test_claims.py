import re
from dataclasses import replace

import pytest

from purifier.evaluation.intervals import Score
from purifier.results.claims import CLAIMS, EPS, Case, cases, costs, defeated, helps, simpler
from purifier.results.plots import plot_dots
from purifier.results.record import read_evaluations
from purifier.wording.language import speaking
from tests.helpers.records import around, record


def score(value, half=0.02):
    return Score(value=value, low=max(0.0, value - half), high=value + half)


def of(defence, attack, accuracy, lead=None, **more):
    """A record with narrow intervals."""
    found = record(defence, attack, accuracy=accuracy, **more)
    return replace(found, accuracy=score(accuracy), mdda_ahead_by=None if lead is None else score(lead))


def measured(ours=0.6, nothing=0.1, lead=0.5, aware=0.1, jpeg=0.55, jpeg_lead=0.01, **more):
    """Clean pictures, an unaware attacker and an aware one; without a defence, behind MDDA and JPEG."""
    return [
        of("none", "none", 0.8, **more),
        of("mdda", "none", 0.7, **more),
        of("jpeg20", "none", 0.7, **more),
        of("none", "pgd20", nothing, lead, **more),
        of("mdda", "pgd20", ours, **more),
        of("jpeg20", "pgd20", jpeg, jpeg_lead, **more),
        of("mdda", "eot10x4", aware + 0.05, **more),
        of("mdda", "eot10x16", aware, **more),
        of("jpeg20", "eot10x4", 0.3, **more),
    ]


def plain(text):
    return re.sub(r"<[^>]+>", "", text).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("lead", "title"),
    [
        (0.5, "It helps against an attacker who does not know it"),
        (0.01, "Whether it helps against an attacker who does not know it, these pictures cannot tell"),
        (-0.2, "It does harm, even against an attacker who does not know it"),
    ],
)
def test_that_it_helps_is_said_only_where_the_records_say_so(lead, title):
    claim = helps(Case(measured(ours=0.1 + lead, lead=lead)))
    assert claim.title == title
    points = f"{100 * (0.1 + lead):.0f} % ({100 * max(0, 0.08 + lead):.0f}–{100 * (0.12 + lead):.0f})"
    assert f"Purified by MDDA it is {points}: on the same pictures {100 * lead:+.0f} points" in plain(claim.text)
    assert "80 % (78–82) are read rightly" in plain(claim.text)


def test_the_first_figure_has_every_attacker_and_defence():
    claim = helps(Case(measured(n=128, lesions=120, constant_accuracy=0.25)))
    assert {name: {row: s.value for row, s in found.items()} for name, found in claim.dots.series.items()} == {
        "nobody attacks": {"none": 0.8, "mdda": 0.7, "jpeg20": 0.7},
        "the attacker does not know the defence": {"none": 0.1, "mdda": 0.6, "jpeg20": 0.55},
        "the attacker knows the defence": {"none": 0.1, "mdda": 0.1, "jpeg20": 0.3},  # the strongest
    }
    for said in ("within 2/255", "128 held-out pictures of 120 lesions", "95 % intervals over lesions", "2 draws"):
        assert said in claim.caption
    assert "where the attacker knows the defence" in claim.caption and "right in 25 %" in claim.caption


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "So do simpler defences"),
        ({"lead": 0.01}, "Simpler defences help"),  # and MDDA was not shown to
        ({"jpeg": 0.3, "jpeg_lead": 0.3}, "Simpler defences help less"),
        ({"jpeg": 0.12}, "No simpler defence was shown to help"),
    ],
)
def test_what_is_said_of_simpler_defences_follows_their_records(changes, title):
    assert simpler(Case(measured(**changes))).title == title


@pytest.mark.parametrize(
    ("lead", "words", "part"),
    [
        (0.2, "ahead of 1 of them, behind 0, and 0 cannot", "worse than MDDA on the same pictures"),
        (-0.2, "ahead of 0 of them, behind 1, and 0 cannot", "better than MDDA on the same pictures"),
        (0.01, "ahead of 0 of them, behind 0, and 1 cannot", "not to be told from MDDA"),
    ],
)
def test_a_peer_is_behind_ahead_or_level_by_the_interval_of_the_difference(lead, words, part):
    claim = simpler(Case(measured(jpeg_lead=lead)))
    assert words in plain(claim.text) and "1 of 1 other defences leave more" in plain(claim.text)
    assert list(claim.dots.series[part]) == ["jpeg20"]


def test_what_is_kept_at_equal_cost_is_told_for_the_most_that_is_given_up():
    kept = [
        replace(record("jpeg", budget=budget), mdda_ahead_by=around(lead))
        for budget, lead in ((5.0, 0.5), (10.0, -0.5))
    ]
    text = plain(simpler(Case(measured(), EPS, kept)).text)
    assert "at most 10 points on clean pictures, MDDA is ahead of 0 of 1 and behind 1." in text
    assert "equal cost" not in simpler(Case(measured())).text


@pytest.mark.parametrize(
    ("lost", "title"), [(0.25, "It costs melanomas"), (0.03, "Whether it costs melanomas, these pictures cannot tell")]
)
def test_that_it_costs_melanomas_is_said_only_beyond_chance(lost, title):
    def clean(defence, share):
        about = {"melanoma_sensitivity": score(0.7 - share), "broken": score(0.1)}
        return replace(record(defence, "none"), melanoma_made_benign=score(share), **about)

    claim = costs(Case([clean("none", 0.0), clean("mdda", lost), clean("jpeg20", 0.5)], None))
    assert claim.title == title
    assert f"MDDA makes {100 * lost:.0f} %" in plain(claim.text) and "Nobody attacks." in claim.caption
    assert f"finds {70 - 100 * lost:.0f} %" in plain(claim.text)
    assert "0 cost fewer melanomas beyond chance, and 1 cost more" in claim.text
    assert list(claim.dots.series["more than MDDA"]) == ["jpeg20"] and not claim.dots.series["fewer than MDDA"]


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "An attacker who knows it defeats it"),
        ({"aware": 0.3}, "An attacker who knows it undoes much of it, but not all"),
        ({"aware": 0.3, "constant_accuracy": 0.3}, "An attacker who knows it defeats it"),
        ({"aware": 0.6}, "It held against the attackers who know it that were tried"),
        ({"aware": 0.11, "ours": 0.12}, "Whether an attacker who knows it defeats it, these pictures cannot tell"),
    ],
)
def test_that_an_aware_attacker_defeats_it_follows_the_records(changes, title):
    claim = defeated(Case(measured(**changes)))
    assert claim.title == title
    strongest = 100 * min(changes.get("aware", 0.1), changes.get("ours", 0.6))
    assert f"leaves {strongest:.0f} %" in plain(claim.text) and "the best keeps 30 %" in plain(claim.text)
    assert set(claim.dots.series["the attacker knows the defence"]) == {"eot10x4", "eot10x16"}
    assert list(claim.dots.series["the attacker does not know the defence"]) == ["pgd20, no defence", "pgd20"]


def test_the_largest_choice_of_pictures_whose_lesions_are_known_is_taken():
    few, many = measured(n=104, lesions=90), measured(n=200, lesions=150)
    unknown, too_few = measured(n=300), measured(n=99, lesions=99, classifier="robust")
    found = cases([unknown, few, many, too_few])
    assert {name: list(titles) for name, titles in found.items()} == {
        "helps": ["augmented, 2/255"], "simpler": ["augmented, 2/255"], "costs": [], "defeated": ["augmented, 2/255"],
    }  # fmt: skip
    assert found["helps"]["augmented, 2/255"].records[0].n == 200


def test_what_the_records_lack_is_not_claimed():
    unaware_only = [r for r in measured() if not r.adaptive]
    assert helps(Case(unaware_only)) is None and defeated(Case(unaware_only)) is None
    assert simpler(Case(unaware_only)) is not None and simpler(Case(unaware_only, 8.0)) is None
    assert costs(Case(unaware_only, None)) is None
    assert all(not found for found in cases([]).values())


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_what_is_stored_makes_every_claim_in_every_language(language):
    runs = read_evaluations().values()
    for name, found in cases(runs, read_evaluations(kind="tradeoff").values()).items():
        assert next(iter(found)).startswith("augmented") and len({t.split(",")[0] for t in found}) == 4
        with speaking(language):
            claims = [CLAIMS[name](case) for case in found.values()]
        assert all(claim.caption and claim.text for claim in claims)
        assert len({claim.text for claim in claims}) == len(claims)


def test_a_figure_has_a_dot_with_its_interval_for_each_score():
    claim = helps(Case(measured()))
    axis = plot_dots(claim.dots).axes[0]
    drawn = {box.get_label(): box for box in axis.containers}
    assert list(drawn) == list(claim.dots.series)
    for name, found in claim.dots.series.items():
        line, _, (intervals,) = drawn[name]
        assert line.get_xdata() == pytest.approx([100 * s.value for s in found.values()])
        ends = [segment[:, 0] for segment in intervals.get_segments()]
        assert ends == [pytest.approx([100 * s.low, 100 * s.high]) for s in found.values()]
    bold = [text.get_text() for text in axis.get_yticklabels() if text.get_fontweight() == "bold"]
    assert bold == ["mdda"]
