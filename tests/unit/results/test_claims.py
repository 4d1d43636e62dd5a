import re
from dataclasses import replace

import pytest

from purifier.evaluation.intervals import Score
from purifier.results.claims import CLAIMS, EPS, UNAWARE, Case, cases, costs, defeated, helps, noticed, simpler
from purifier.results.detection import among, read_detections
from purifier.results.plots import plot_dots
from purifier.results.record import ENOUGH, read_evaluations, strongest
from purifier.wording.language import speaking
from tests.helpers.records import around, detected, record


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


def test_that_it_helps_is_not_said_where_an_attack_on_brightness_alone_says_otherwise():
    grey = [of("none", "grey20", 0.0, 0.01), of("mdda", "grey20", 0.01)]
    claim = helps(Case([*measured(), *grey]))
    assert claim.title == "Whether it helps against an attacker who does not know it, these pictures cannot tell"
    assert "brightness alone, 0 % (0–2) are left, and purified 1 % (0–3)." in plain(claim.text)
    assert "brightness" not in plain(helps(Case(measured())).text)


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


def test_peers_are_shown_in_the_setting_that_leaves_most():
    better = [of("jpeg40", "none", 0.75), of("jpeg40", "pgd20", 0.62, -0.02)]
    claim = simpler(Case([*measured(ours=0.6, lead=0.5, jpeg=0.4, jpeg_lead=0.2), *better]))
    assert claim.title == "So do simpler defences" and list(claim.dots.rows[2:]) == ["jpeg40"]


def test_what_is_kept_at_equal_cost_is_told_for_each_limit():
    kept = [
        replace(record("jpeg", budget=budget), mdda_ahead_by=around(lead))
        for budget, lead in ((5.0, 0.5), (10.0, -0.5))
    ]
    text = plain(simpler(Case(measured(), EPS, kept)).text)
    assert "where 5 / 10 points on clean pictures may be given up" in text
    assert "MDDA is ahead of 1 / 0 of 1 and behind 0 / 1." in text
    assert "equal cost" not in simpler(Case(measured())).text


@pytest.mark.parametrize(
    ("lost", "title"),
    [
        (0.25, "It costs melanomas"),
        (0.03, "It hides some melanomas that were recognised"),
        (0.01, "Whether it costs melanomas, these pictures cannot tell"),
    ],
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


def test_the_largest_choice_of_pictures_is_taken():
    few, many = measured(n=104, lesions=90), measured(n=200, lesions=150)
    found = cases([few, many, measured(n=99, lesions=99, classifier="robust")])
    assert {name: list(titles) for name, titles in found.items()} == {
        "helps": ["augmented, 2/255"], "simpler": ["augmented, 2/255"], "costs": [], "defeated": ["augmented, 2/255"],
        "noticed": [],
    }  # fmt: skip
    assert found["helps"]["augmented, 2/255"].records[0].n == 200


def test_what_the_records_lack_is_not_claimed():
    unaware_only = [r for r in measured() if not r.adaptive]
    assert helps(Case(unaware_only)) is None and defeated(Case(unaware_only)) is None
    assert simpler(Case(unaware_only)) is not None and simpler(Case(unaware_only, 8.0)) is None
    assert costs(Case(unaware_only, None)) is None
    assert all(not found for found in cases([]).values())


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_what_is_stored_makes_claims_in_every_language(language):
    runs, detections = read_evaluations(), read_detections()
    made = cases(runs.values(), read_evaluations(kind="tradeoff").values(), detections.values())
    adaptive = strongest(runs["augmented-adaptive"], EPS)
    expected = {"simpler", "costs"}
    if any(r.defence == "mdda" and r.n >= ENOUGH for r in adaptive):
        expected |= {"helps", "defeated"}
    if any(among(found, UNAWARE, EPS) for found in detections.values()):
        expected.add("noticed")
    assert {name for name, found in made.items() if found} == expected
    for name in expected:
        assert next(iter(made[name])).startswith("augmented")
        with speaking(language):
            claims = [CLAIMS[name](case) for case in made[name].values()]
        assert all(claim.caption and claim.text for claim in claims)
        assert len({claim.text for claim in claims}) == len(claims)


def alarms(unaware=0.9, evading=None):
    """Of both detectors, under who knows neither and, with an area, under who evades the alarm; also of the successful
    attacks and of one source, which no claim is made of."""
    found = [detected(attack="none", eps=None, share=0.04)]
    areas = {"pgd20": unaware} | ({} if evading is None else {"evade20x4": evading})
    for attack, area in areas.items():
        found += [detected(attack=attack, area=area, share=area - 0.3)]
        found += [
            detected(attack=attack, area=0.99, share=0.99, **more) for more in ({"successful": True}, {"source": "MSK"})
        ]
        found += [detected("squeezing", attack=attack, area=0.7, share=0.2)]
    return found


@pytest.mark.parametrize(
    ("areas", "title"),
    [
        ((0.9, None), "It helps to see that a picture was attacked"),
        ((0.55, None), "Whether it helps to see that a picture was attacked, these pictures cannot tell"),
        ((0.9, 0.5), "It helps to see that a picture was attacked, but not where the attacker knows the alarm"),
        ((0.9, 0.65), "It helps to see that a picture was attacked, less well where the attacker knows the alarm"),
        ((0.9, 0.8), "It helps to see that a picture was attacked, even where the attacker knows the alarm"),
    ],
)
def test_what_is_said_of_the_alarm_follows_the_area(areas, title):
    claim = noticed(Case((), EPS, detected=alarms(*areas)))
    assert claim.title == title
    unaware, evading = areas
    text = plain(claim.text)
    assert f"in {100 * unaware:.0f} % ({100 * unaware - 10:.0f}–{100 * unaware + 10:.0f}) of pairs" in text
    assert "If 5 % of clean pictures may be called attacked" in text
    assert f"detects {100 * (unaware - 0.3):.0f} %" in text and "in place of the purifier, detects 20 %" in text
    assert ("knows the alarm" in text) == (evading is not None)
    if evading is not None:
        assert f"ranks them above clean ones in {100 * evading:.0f} %" in text


def test_the_alarm_s_figure_has_both_detectors_under_each_attack():
    claim = noticed(Case((), EPS, detected=alarms(0.9, 0.6)))
    shares = {name: [round(s.value, 2) for s in found.values()] for name, found in claim.dots.series.items()}
    assert shares == {"the alarm": [0.6, 0.3], "feature squeezing": [0.2, 0.2]}
    rows = list(claim.dots.series["the alarm"])
    assert claim.dots.strong == rows[0] and "evades" in rows[1]
    for said in ("80 held-out pictures of 70 lesions", "4 draws", "at most 5 % are detected", "within 2/255"):
        assert said in claim.caption


def test_a_claim_on_the_alarm_is_made_of_runs_of_their_own():
    larger = [replace(d, n=200) for d in alarms()]
    other = [replace(d, classifier="robust", eps=8.0) for d in alarms()]
    found = cases([measured()], (), [alarms(), larger, other])
    assert list(found["noticed"]) == ["augmented, 2/255", "robust, 8/255"]
    assert found["noticed"]["augmented, 2/255"].detected == larger
    assert list(found["helps"]) == ["augmented, 2/255"]
    assert noticed(Case(measured())) is None and noticed(Case((), 4.0, detected=alarms())) is None
    evaded = alarms(evading=0.6)
    found = cases([measured()], (), [larger, evaded, [replace(d, eps=8.0) for d in larger]])
    assert found["noticed"]["augmented, 2/255"].detected == evaded
    assert list(found["noticed"]) == ["augmented, 2/255", "augmented, 8/255"]


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
