"""The first sentences, of made-up records: their words follow who is ahead, level or behind."""

from dataclasses import replace

import pytest

from purifier.results.record import ANY
from purifier.results.short import (
    alarm,
    at_equal_cost,
    aware,
    beside,
    by_autoattack,
    clean,
    diffusion,
    in_short,
    others,
    unaware,
)
from purifier.results.stored import Stored
from tests.helpers.records import detected, record


def balanced(*leads, name="none", attack="pgd20"):
    """Of classifiers a, b ...: MDDA is ahead of a defence by so much, with intervals that reach 0.1 to both sides."""
    found = {}
    for classifier, lead in zip(("augmented", "b", "c"), leads, strict=False):
        about = dict(classifier=classifier, n=500, lesions=400)
        found[classifier] = [
            record("none", "none", accuracy=0.75, ahead=lead, **about),
            record("mdda", "none", accuracy=0.7, **about),
            record("mdda", "pgd20", accuracy=0.65, **about),
            record("none", "pgd20", accuracy=0.05, ahead=lead, **about),
            record("jpeg20", "none", accuracy=0.7, ahead=lead, **about),
            record("jpeg20", "pgd20", accuracy=0.6, ahead=-lead, **about),
        ]
    return found


def test_what_an_unaware_attack_leaves_is_told_with_and_without_the_purifier():
    text = unaware(balanced(0.3, 0.02, -0.3))
    assert text == (
        "of 500 pictures `augmented` reads 75.0 % (65–85). Attacked at 2/255 it reads 5.0 % (-5–15), attacked and "
        "purified 65.0 % (55–75). Of pictures attacked at 2/255, more are read rightly with the purifier than without "
        "on `augmented` (+30.0, +20 to +40); no difference can be told on `b` (+2.0, -8 to +12); fewer are read "
        "rightly with the purifier than without on `c` (-30.0, -40 to -20)."
    )


def test_each_size_of_the_attack_is_told():
    found = balanced(0.3)
    found["augmented"] += [record("mdda", eps=8.0, accuracy=0.4), record("none", eps=8.0, accuracy=0.0, ahead=0.4)]
    text = unaware(found)
    assert "Attacked at 8/255 it reads 0.0 % (-10–10), attacked and purified 40.0 % (30–50)." in text
    assert "Of pictures attacked at 8/255, more are read rightly with the purifier than without on `augmented`" in text


def test_what_it_costs_is_told():
    text = clean(balanced(-0.2, 0.0))
    assert text == (
        "of 500 pictures `augmented` reads 75.0 % (65–85), purified 70.0 % (60–80). Of pictures that nobody attacked, "
        "no difference can be told on `b` (+0.0, -10 to +10); fewer are read rightly with the purifier than without on "
        "`augmented` (-20.0, -30 to -10)."
    )


def adaptive(left, **more):
    return [
        record("none", "none", accuracy=0.8, **more),
        record("none", "pgd20", accuracy=0.1, **more),
        record("mdda", "pgd20", accuracy=0.7, **more),
        record("mdda", "eot10x4", accuracy=left + 0.1, **more),
        record("mdda", "eot10x16", accuracy=left, **more),
    ]


@pytest.mark.parametrize(
    ("left", "more", "said"),
    [
        (0.1, {}, "is defeated on"),
        (0.4, {}, "loses much of its effect, but not all, on"),
        (0.4, {"constant_accuracy": 0.35}, "is defeated on"),
        (0.6, {}, "holds on"),
    ],
)
def test_whether_an_aware_attacker_defeats_it_follows_the_records(left, more, said):
    records = {"augmented": adaptive(left, **more)}
    low, high = 100 * left - 10, 100 * left + 10
    assert aware(records, records) == (
        "at 2/255 there is left, with the purifier at most and without it: "
        f"{100 * left:.1f} % ({low:.0f}–{high:.0f}) (`eot10x16`) and 10.0 % (0–20) on `augmented`. "
        f"**Attacked by someone who knows it, the purifier {said} `augmented`.**"
    )


def test_where_each_picture_meets_what_works_on_it_the_run_s_own_attacks_are_named():
    own = [*adaptive(0.3), replace(record("mdda", accuracy=0.1), attacker=ANY)]
    own.append(record("mdda", "fixed20", accuracy=0.0))  # who knows the noise is none of them
    others = [record("mdda", "fgsm", accuracy=0.6), record("none", "fgsm", accuracy=0.6)]
    text = aware({"augmented": own + others}, {"augmented": own})
    assert "10.0 % (0–20) (of `pgd20`, `eot10x4` and `eot10x16` what works on each picture) and 10.0 % (0–20)" in text


def test_classifiers_of_the_same_fate_are_named_together():
    records = {"a": adaptive(0.1), "b": adaptive(0.6), "c": adaptive(0.05)}
    text = aware(records, records)
    assert text.endswith("the purifier is defeated on `a` and `c`; holds on `b`.**")
    assert aware({"a": [record("none"), record("mdda")]}, {"a": []}) == ""  # where nobody knew it


def test_what_autoattack_leaves_of_a_classifier_alone_is_told():
    attacked = [*adaptive(0.3), record("none", "autoattack", accuracy=0.05), record("mdda", "autoattack", accuracy=0.7)]
    assert by_autoattack({"a": attacked, "b": adaptive(0.3)}) == (
        "at 2/255 there is left 5.0 % (-5–15) on `a`, which reads 80.0 % (70–90) unattacked."
    )
    assert by_autoattack({"b": adaptive(0.3)}) == ""


def test_the_best_of_the_other_defences_is_named_with_what_it_costs():
    known = [*adaptive(0.1), *(record(name, "none", accuracy=0.5) for name in ("jpeg20", "noise24"))]
    known += [record("jpeg20", "eot10x4", accuracy=0.1), record("noise24", "eot10x4", accuracy=0.4)]
    assert others(known) == (
        "of 2 that were attacked at 2/255 on `augmented` by someone who knows them, `noise24` keeps most, at most "
        "40.0 % (30–50), and reads 50.0 % (40–60) of clean pictures. Beyond chance, 1 of 2 keep more than is read "
        "without any defence."
    )
    constant = [replace(r, constant_accuracy=0.35) for r in known]
    assert "Beyond chance, 0 of 2 keep more" in others(constant)
    assert others(constant).endswith("and than always giving the same answer gets right.")
    assert others(adaptive(0.1)) == ""


def test_a_peer_is_told_on_clean_pictures_and_under_each_attack():
    ahead, behind = "+30.0, +20 to +40", "-30.0, -40 to -20"
    assert beside("jpeg20", balanced(0.3, -0.3)) == (
        f"on clean pictures, MDDA is ahead of it on `augmented` ({ahead}); MDDA is behind it on `b` ({behind}). "
        f"Attacked at 2/255, MDDA is ahead of it on `b` ({ahead}); MDDA is behind it on `augmented` ({behind})."
    )
    assert beside("median7", balanced(0.3)) == ""


def test_conditions_of_which_the_same_is_said_are_told_together():
    levels = "+0.0, -10 to +10; -0.0, -10 to +10"
    assert beside("jpeg20", balanced(0.0)) == (
        f"on clean pictures and attacked at 2/255, no difference can be told on `augmented` ({levels})."
    )


def test_a_diffusion_model_is_told_with_its_cost_and_who_attacked_it():
    assert diffusion([], []) == diffusion([record("mdda", "none")], []) == ""
    run = [record("mdda", "none", accuracy=0.7), record("mdda", accuracy=0.6)]
    for name, lead in (("diffpure8", 0.3), ("diffpure16", -0.3)):
        run += [record(name, "none", accuracy=0.4, ahead=lead, seconds_per_image=4.96), record(name, ahead=lead)]
    text = diffusion(run, [])
    assert text == (
        "`augmented` reads of 104 pictures, clean and attacked at 2/255, with seconds a picture: 70.0 % "
        "(60–80) and 60.0 % (50–70) behind `mdda`, 0.25 s; 40.0 % (30–50) and 50.0 % (40–60) behind `diffpure8` (MDDA: "
        "+30.0, +20 to +40; +30.0, +20 to +40), 5 s; 40.0 % (30–50) and 50.0 % (40–60) behind `diffpure16` (MDDA: "
        "-30.0, -40 to -20; -30.0, -40 to -20), 5 s. Nobody who knows it attacked it."
    )
    known = [record("mdda", "bpda10x1", accuracy=0.3), record("diffpure16", "bpda10x1", accuracy=0.2, ahead=0.1)]
    through = "DiffPure's gradient was not tried."
    known.append(replace(known[0], attacker=ANY))  # which is no attack of its own
    assert diffusion(run, known).endswith(through)
    by_gradient = [record(name, "eot10x4", accuracy=0.1, ahead=0.1) for name in ("mdda", "diffpure16")]
    assert through not in diffusion(run, [*known, *by_gradient])
    assert diffusion(run, known).partition(" BPDA takes")[0] == text.replace(
        "Nobody who knows it attacked it.",
        "Aware, `bpda10x1` at 2/255 leaves of 104 pictures 30.0 % (20–40) behind MDDA, 20.0 % (10–30) behind "
        "`diffpure16` (MDDA: +10.0, +0 to +20).",
    )


def test_families_are_counted_for_each_limit_of_what_is_given_up():
    def kept(family, lead, budget=10.0, eps=2.0):
        return record(family, eps=eps, ahead=lead, budget=budget)

    records = [kept("jpeg", 0.0), kept("rof", 0.3), kept("bits", 0.3), kept("resize", -0.3)]
    records += [kept(name, -0.3, 5.0) for name in ("jpeg", "rof", "bits")] + [kept("resize", 0.0, 5.0)]
    assert at_equal_cost({"augmented": records, "b": [kept("jpeg", 0.2), kept("jpeg", -0.2, eps=8.0)]}) == (
        "each family in any setting that was run, or a mixture of two, where 5 and 10 points of clean accuracy may be "
        "given up. Attacked at 2/255, MDDA is ahead of 0 and 2 of 4 on `augmented`, behind 3 and 1; ahead of – and 1 "
        "of 1 on `b`, behind none. Attacked at 8/255, MDDA is ahead of none of 1 on `b`, behind – and 1."
    )
    assert at_equal_cost({"augmented": []}) == ""


def test_the_alarm_is_told_beside_feature_squeezing_and_who_evades_it():
    found = [detected(area=0.9), detected("squeezing", area=0.8), detected(area=0.99, successful=True)]
    plain = "on `augmented` it ranks 80 pictures attacked at 2/255 above clean ones in 90 % (80–100) of pairs (feature "
    plain += "squeezing: 80 % (70–90))"
    assert alarm([found]) == f"{plain}."
    evaded = [detected(attack="evade20x4", area=0.5), detected("squeezing", "evade20x4", area=0.1)]
    assert alarm([found + evaded]) == f"{plain}; if their attacker evades it, in 50 % (40–60)."
    larger = [replace(d, eps=8.0) for d in found]
    assert alarm([found, larger]) == f"{plain}. {plain[0].upper()}{plain[1:].replace('2/255', '8/255')}."
    assert alarm([]) == alarm([[detected(attack="fgsm")]]) == ""


def test_what_is_stored_has_its_sentences():
    titles = list(in_short(Stored.read()))
    assert (
        titles[:3] == ["Unaware attacker", "Unaware attacker, brightness alone", "Clean pictures"]
        and "At equal cost" in titles
    )
