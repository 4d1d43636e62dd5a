import numpy as np
import pandas as pd
import pytest

from purifier.results.tables import at_equal_cost_table
from purifier.results.tradeoff import at_equal_cost, best_mixture

NOTHING = (0.9, 0.0)  # accuracies of no defence: clean, attacked


def test_between_two_settings_lies_their_mixture():
    clean, attacked = np.array([[*NOTHING], [0.7, 0.6], [0.5, 0.5]]).T
    assert best_mixture(clean, attacked, 0.7) == pytest.approx(0.6)
    assert best_mixture(clean, attacked, 0.8) == pytest.approx(0.3)  # half of the pictures each
    assert best_mixture(clean, attacked, 0.4) == pytest.approx(0.6)  # the third is worse at both
    assert best_mixture(clean, attacked, 0.9) == 0.0
    with pytest.raises(ValueError, match="clean accuracy of 0.95"):
        best_mixture(clean, attacked, 0.95)


def test_no_mixture_of_three_beats_the_best_of_two():
    generator = np.random.default_rng(0)
    for _ in range(20):
        clean, attacked = generator.random((2, 5))
        least = np.quantile(clean, 0.6)
        shares = generator.dirichlet(np.full(5, 0.3), size=5000)
        allowed = shares @ clean >= least
        assert (shares[allowed] @ attacked).max() <= best_mixture(clean, attacked, least) + 1e-12


def made_up(shares: dict[str, tuple[float, float]], count=400) -> pd.DataFrame:
    """Rows of pictures that each defence reads rightly in these shares, clean and attacked, at random."""
    generator, frames = np.random.default_rng(1), []
    for name, pair in shares.items():
        for (attack, eps), share in zip((("none", np.nan), ("pgd20", 2.0)), pair, strict=True):
            frames.append(
                pd.DataFrame(
                    {
                        "image": range(count),
                        "lesion": range(count),
                        "classifier": "made up",
                        "attack": attack,
                        "eps": eps,
                        "threat": "oblivious",
                        "defence": name,
                        "draw": 0,
                        "label": "NV",
                        "predicted": np.where(generator.random(count) < share, "NV", "MEL"),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_families_are_compared_at_the_same_cost_with_intervals_that_hold_the_truth():
    rows = made_up(
        {
            "none": NOTHING,
            "mdda": (0.8, 0.7),
            "mdda8": (0.85, 0.5),
            "jpeg20": (0.85, 0.3),
            "jpeg5": (0.1, 0.1),
            "rof0.08": (0.8, 0.7),
            "rof0.3": (0.1, 0.1),
            "bits1": (0.85, 0.8),
        }
    )
    records = at_equal_cost(rows, budgets=(5.0, 20.0))
    found = {(r.budget, r.defence): r for r in records}
    assert (5.0, "bits") not in found, "it had no choice"
    assert found[5.0, "mdda"].settings == ["mdda", "mdda8"] and found[5.0, "mdda"].mdda_ahead_by is None
    for (budget, family), truth in {
        (5.0, "mdda"): 0.5,
        (20.0, "mdda"): 0.7,
        (5.0, "jpeg"): 0.3,
        (20.0, "jpeg"): 0.3,
        (5.0, "rof"): 0.35,
    }.items():
        r = found[budget, family]
        assert r.accuracy.low < truth < r.accuracy.high and r.n == 400, (budget, family)
    assert found[20.0, "jpeg"].mdda_ahead_by.low > 0.2
    assert found[20.0, "rof"].mdda_ahead_by.low < 0 < found[20.0, "rof"].mdda_ahead_by.high
    table = at_equal_cost_table(records)
    assert "| jpeg | jpeg20, jpeg5 | 0." in table and "at most 20 points given up" in table


SOME = {"none": NOTHING, "mdda": (0.8, 0.7), "mdda8": (0.85, 0.5), "jpeg20": (0.85, 0.3), "jpeg5": (0.1, 0.1)}


def test_what_is_kept_is_the_best_mixture_within_the_budget():
    rows = made_up(SOME)
    shares = (rows.predicted == "NV").groupby([rows.attack, rows.defence]).mean()
    clean, attacked = (shares[attack][["none", "mdda", "mdda8"]].to_numpy() for attack in ("none", "pgd20"))
    for r in at_equal_cost(rows, budgets=(2.0, 7.0)):
        if r.defence == "mdda":
            assert r.accuracy.value == pytest.approx(best_mixture(clean, attacked, clean[0] - r.budget / 100))


def test_several_pictures_of_a_lesion_count_as_one_in_the_intervals():
    rows = made_up(SOME)
    again = at_equal_cost(pd.concat([rows.assign(image=4 * rows.image + i) for i in range(4)], ignore_index=True))
    for one, four in zip(at_equal_cost(rows), again, strict=True):
        assert (one.n, four.n, one.lesions, four.lesions) == (400, 1600, 400, 400)
        assert vars(four.accuracy) == pytest.approx(vars(one.accuracy))


def test_attackers_who_know_the_defence_have_no_part_in_it():
    rows = made_up(SOME)
    aware = rows[rows.eps.notna()].assign(attack="eot20x8", threat="adaptive", predicted="MEL")
    found = at_equal_cost(pd.concat([rows, aware], ignore_index=True))
    assert found == at_equal_cost(rows) and {(r.classifier, r.attack, r.eps) for r in found} == {
        ("made up", "pgd20", 2)
    }


def test_mdda_at_one_scale_is_mdda_too():
    rows = made_up(
        {"none": NOTHING, "mdda": (0.6, 0.5), "mdda8": (0.7, 0.5), "mdda-rof": (0.5, 0.4), "noisy-rof0.03": (0.88, 0.8)}
    )
    found = {r.defence: r for r in at_equal_cost(rows, budgets=(5.0,))}
    assert found["mdda"].settings == ["mdda", "mdda8", "mdda-rof", "noisy-rof0.03"]
    assert found["mdda-rof"].defence_title == "MDDA with ROF" and found["mdda-rof"].mdda_ahead_by is None
    assert found["mdda"].accuracy == found["noisy-rof"].accuracy and found["mdda"].accuracy.value > 0.75


def test_one_strength_of_mdda_has_no_tradeoff():
    assert at_equal_cost(made_up({"none": NOTHING, "mdda": (0.8, 0.7), "jpeg20": (0.8, 0.3)})) == []
    assert at_equal_cost_table([]) == ""
