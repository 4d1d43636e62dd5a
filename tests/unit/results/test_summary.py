import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score

from purifier.evaluation.datasets import LABELS
from purifier.evaluation.intervals import wilson
from purifier.evaluation.plots import plot_sensitivity
from purifier.results.plots import plot_convergence, plot_grid, plot_tradeoffs
from purifier.results.record import ENOUGH, write_records
from purifier.results.summary import by_source, summarise, write_summary
from purifier.results.tables import sources_table, table
from purifier.results.tradeoff import at_equal_cost
from tests.helpers.records import record

COUNT, DRAWS = 60, 3


def made_up(attack="none", defence="none", draws=1, threat="oblivious", eps=None, seed=0):
    """Rows of random answers that are right half of the time, with AUROC's ties."""
    generator = np.random.default_rng(seed)
    labels = np.array(LABELS)[np.arange(COUNT) % 8]
    frames = []
    for draw in range(draws):
        guesses = generator.choice(LABELS, COUNT)
        frames.append(
            pd.DataFrame(
                {
                    "image": [f"{i:03d}" for i in range(COUNT)],
                    "lesion": [f"L{i}" for i in range(COUNT)],
                    "source": "",
                    "jpeg_quality": np.nan,
                    "label": labels,
                    "classifier": "made up",
                    "attack": attack,
                    "eps": np.nan if eps is None else eps,
                    "threat": threat,
                    "defence": defence,
                    "draw": draw,
                    "draws": draws,
                    "linf": 0.0,
                    "l2": 0.0,
                    "l2_coarse": 0.0,
                    "attack_seconds": 0.1,
                    "seconds": 0.2,
                    "peak_memory_mb": 1.0,
                    "psnr": np.inf,
                    "ssim": 1.0,
                    "predicted": np.where(generator.random(COUNT) < 0.5, labels, guesses),
                    "p_MEL": generator.integers(5, size=COUNT) / 4,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def rows():
    return pd.concat(
        [
            made_up(),
            made_up(defence="mdda", draws=DRAWS, seed=1),
            made_up(defence="jpeg30", seed=2),
            made_up("pgd20", eps=2.0, seed=3),
            made_up("pgd20", "mdda", DRAWS, eps=2.0, seed=4),
            made_up("pgd20", "jpeg30", eps=2.0, seed=5),
            made_up("eot20x8", "mdda", DRAWS, "adaptive", 2.0, seed=6),
            made_up("eot20x8", "jpeg30", 1, "adaptive", 2.0, seed=7),
        ],
        ignore_index=True,
    )


def pick(records, attack, defence):
    return next(r for r in records if (r.attack, r.defence) == (attack, defence))


def test_scores_are_scikit_learns(rows):
    found = pick(summarise(rows), "pgd20", "mdda")
    draws = [g for _, g in rows[(rows.attack == "pgd20") & (rows.defence == "mdda")].groupby("draw")]
    expected = {
        "accuracy": lambda d: accuracy_score(d.label, d.predicted),
        "balanced_accuracy": lambda d: balanced_accuracy_score(d.label, d.predicted),
        "melanoma_sensitivity": lambda d: recall_score(d.label == "MEL", d.predicted == "MEL"),
        "melanoma_specificity": lambda d: recall_score(d.label != "MEL", d.predicted != "MEL"),
        "melanoma_auroc": lambda d: roc_auc_score(d.label == "MEL", d.p_MEL),
    }
    for name, score in expected.items():
        mine = getattr(found, name)
        assert mine.value == pytest.approx(np.mean([score(d) for d in draws])), name
        assert mine.low < mine.value < mine.high
    right = np.stack([(d.predicted == d.label).to_numpy() for d in draws])
    assert found.worst_of_draws.value == pytest.approx(right.all(axis=0).mean())
    assert found.worst_of_draws.value <= found.accuracy.value
    assert (found.n, found.draws) == (COUNT, DRAWS)


def test_the_majority_is_the_answer_given_most_often():
    rows = made_up(draws=3)
    rows.loc[rows.draw < 2, "predicted"] = rows.label
    rows.loc[rows.draw == 2, "predicted"] = "none of them"
    found = summarise(rows)[0]
    assert (
        found.majority.value == 1 and found.worst_of_draws.value == 0 and found.accuracy.value == pytest.approx(2 / 3)
    )


def test_a_tie_of_the_draws_is_half_a_right_answer():
    rows = made_up(draws=2)
    rows.loc[rows.draw == 0, "predicted"], rows.loc[rows.draw == 1, "predicted"] = rows.label, "AAA"
    assert summarise(rows)[0].majority.value == 0.5


def test_several_pictures_of_a_lesion_count_as_one_in_the_intervals(rows):
    one_each = pick(summarise(rows), "pgd20", "jpeg30")
    five_times = pd.concat([rows.assign(image=rows.image + f"-{i}") for i in range(5)])
    again = pick(summarise(five_times), "pgd20", "jpeg30")
    assert (again.n, again.lesions, one_each.lesions) == (5 * COUNT, COUNT, COUNT)
    scores = "accuracy", "worst_of_draws", "majority", "balanced_accuracy", "mdda_ahead_by", "melanoma_sensitivity"
    for name in scores:
        assert vars(getattr(again, name)) == pytest.approx(vars(getattr(one_each, name))), name


def test_the_constant_answer_that_is_right_most_often_is_beside_the_scores(rows):
    assert summarise(rows)[0].constant_accuracy == pytest.approx(-(-COUNT // 8) / COUNT)


def test_sources_are_told_apart_where_each_has_enough_pictures(rows):
    many = pd.concat([rows.assign(image=rows.image + f"-{i}", lesion=rows.lesion + f"-{i}") for i in range(4)])
    first = many.image.str[:3].astype(int) < COUNT // 2
    many = many.assign(source=np.where(first, "A", "B"), jpeg_quality=np.where(first, 75.0, 90.0))
    found = {(r.source, r.attack, r.defence): r for r in by_source(many)}
    own = many[first & (many.attack == "pgd20") & (many.defence == "mdda")]
    ours, theirs = found["A", "pgd20", "mdda"], found["A", "pgd20", "jpeg30"]
    assert ours.accuracy.value == pytest.approx((own.predicted == own.label).mean()) and ours.n == 2 * COUNT
    assert theirs.mdda_ahead_by.value == pytest.approx(ours.accuracy.value - theirs.accuracy.value)
    assert found["B", "none", "jpeg30"].mdda_ahead_by is not None and (found["B", "none", "jpeg30"].eps, ours.eps) == (
        None,
        2,
    )
    assert {(r.source, r.jpeg_quality) for r in found.values()} == {("A", 75.0), ("B", 90.0)}
    text = sources_table(list(found.values()))
    assert "A's were of quality 75 and B's were of quality 90" in text and "| jpeg30 | 0." in text
    without = by_source(many.assign(jpeg_quality=None))
    assert {r.jpeg_quality for r in without} == {None} and "JPEG" not in sources_table(without)
    some = by_source(many.assign(jpeg_quality=np.where(first, 75.0, np.nan)))
    assert "JPEG files: A's were of quality 75, on average" in sources_table(some)
    assert by_source(rows) == [] == by_source(many.assign(source="A")) and sources_table([]) == ""


def test_harm_is_counted_where_nobody_attacks():
    none, mdda = made_up(), made_up(defence="mdda")
    none["predicted"] = none.label
    mdda["predicted"] = none.label
    melanomas = mdda.index[mdda.label == "MEL"]
    mdda.loc[melanomas[:2], "predicted"] = "NV"  # benign
    mdda.loc[melanomas[2], "predicted"] = "BCC"  # wrong, and malignant
    found = pick(summarise(pd.concat([none, mdda])), "none", "mdda")
    assert found.broken.value == pytest.approx(3 / COUNT)
    assert found.melanoma_made_benign.value == pytest.approx(2 / len(melanomas))


def test_recovered_counts_the_pictures_that_the_attack_changed():
    clean, fooled, mdda = made_up(), made_up("pgd20", eps=2.0), made_up("pgd20", "mdda", eps=2.0)
    clean["predicted"] = clean.label
    fooled["predicted"] = fooled.label
    fooled.loc[:9, "predicted"] = "nothing"
    mdda["predicted"] = mdda.label
    mdda.loc[:3, "predicted"] = "nothing"
    found = summarise(pd.concat([clean, fooled, mdda]))
    assert pick(found, "pgd20", "mdda").recovered.value == pytest.approx(6 / 10)
    assert pick(found, "pgd20", "none").recovered.value == 0


def test_recovered_is_of_unaware_attacks_that_were_run_without_a_defence(rows):
    aware = made_up("eot20x8", eps=2.0, threat="adaptive", seed=8)
    records = summarise(pd.concat([rows, aware], ignore_index=True))
    assert pick(records, "pgd20", "mdda").recovered is not None and pick(records, "eot20x8", "mdda").recovered is None
    alone = summarise(rows[(rows.attack != "pgd20") | (rows.defence != "none")])
    assert pick(alone, "pgd20", "mdda").recovered is None


def test_the_order_of_the_rows_changes_nothing(rows):
    anew = {(r.attack, r.defence): r for r in summarise(rows.sample(frac=1, random_state=0))}
    for r in summarise(rows):
        other = anew[r.attack, r.defence]
        assert r.accuracy == other.accuracy and r.mdda_ahead_by == other.mdda_ahead_by
        assert r.broken == other.broken and r.recovered == other.recovered


def test_one_picture_is_enough_and_what_cannot_be_measured_is_left_out(rows):
    (none, *_) = summarise(rows[rows.image == "003"])
    assert none.n == none.draws == none.peak_memory_mb == 1 and none.psnr is None and none.ssim == 1
    (some, *_) = summarise(rows.assign(psnr=np.where(rows.image == "003", 30.0, np.inf)))
    assert some.psnr == 30


def test_the_lead_is_paired_by_picture(rows):
    records = summarise(rows)
    ours, theirs = (pick(records, "pgd20", name) for name in ("mdda", "jpeg30"))
    assert theirs.mdda_ahead_by.value == pytest.approx(ours.accuracy.value - theirs.accuracy.value)
    assert ours.mdda_ahead_by is None
    same = rows[rows.defence == "mdda"].assign(defence="jpeg30")
    twin = pick(summarise(pd.concat([rows[rows.defence != "jpeg30"], same])), "pgd20", "jpeg30")
    assert twin.mdda_ahead_by.low == twin.mdda_ahead_by.high == 0


def test_who_knows_a_defence_takes_for_each_picture_and_draw_the_attack_that_works(rows):
    records = summarise(rows)
    for defence in ("jpeg30", "mdda"):
        behind = rows[(rows.defence == defence) & rows.attack.isin(["pgd20", "eot20x8"])]
        right = (behind.predicted == behind.label).groupby([behind.image, behind.draw]).all()
        found = pick(records, "any", defence)
        assert found.accuracy.value == pytest.approx(right.mean()) and found.n == 60 and found.adaptive
        assert found.accuracy.value < min(pick(records, name, defence).accuracy.value for name in ("pgd20", "eot20x8"))
        assert found.melanoma_auroc is None  # probabilities are those of one attack
    knows_noise = made_up("fixed20", "mdda", DRAWS, "adaptive", 2.0, 8)
    of_some = made_up("pgd40", "mdda", DRAWS, eps=2.0, seed=9).query("image < '033'")
    for more in (knows_noise, of_some):
        assert pick(summarise(pd.concat([rows, more])), "any", "mdda").accuracy == found.accuracy
    assert not any(r.attack == "any" for r in summarise(rows[rows.threat == "oblivious"]))
    assert not any(r.attack == "any" for r in summarise(rows[rows.attack != "pgd20"]))


def test_the_lead_of_all_attacks_together_is_over_the_same_attacks(rows):
    def lead(rows):
        return pick(summarise(rows), "any", "jpeg30").mdda_ahead_by

    any_of = {name: pick(summarise(rows), "any", name).accuracy.value for name in ("mdda", "jpeg30")}
    assert lead(rows).value == pytest.approx(any_of["mdda"] - any_of["jpeg30"])
    ours = rows.defence == "mdda"
    assert lead(rows[~ours | (rows.attack != "eot20x8")]) is None and lead(rows[~ours]) is None


def test_a_record_says_what_it_is_of(rows):
    found = pick(summarise(rows), "pgd20", "jpeg30")
    assert (found.classifier, found.attack, found.eps, found.n) == ("made up", "pgd20", 2.0, COUNT)
    assert (found.family, found.number, found.defence_title) == ("jpeg", 30, "JPEG of quality 30")


@pytest.mark.parametrize("count", [ENOUGH - 1, ENOUGH])
def test_a_source_counts_with_enough_pictures_and_a_name(count):
    one = [made_up(seed=i) for i in range(6)]
    rows = pd.concat([frame.assign(image=f"{i}-" + frame.image) for i, frame in enumerate(one)], ignore_index=True)
    rows["source"] = np.where(rows.index < count, "A", np.where(rows.index < 2 * ENOUGH, "B", ""))
    attacked = rows.assign(attack="pgd20", eps=2.0)
    assert {r.source for r in by_source(pd.concat([rows, attacked]))} == ({"A", "B"} if count >= ENOUGH else set())


def test_a_run_is_written_with_all_that_can_be_said_of_it(rows, tmp_path):
    records = write_summary(rows, tmp_path)
    assert records == summarise(rows) and (tmp_path / "summary.json").read_bytes() == write_records(records)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table(records, at_equal_cost(rows), by_source(rows))
    plots = {f"{name}.{kind}" for name in ("accuracy", "epsilon") for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "table.md"} | plots
    weaker = rows[rows.defence == "mdda"].assign(defence="mdda4")
    several = pd.concat([rows, weaker], ignore_index=True)
    many = pd.concat([several.assign(image=f"{i}-" + several.image, source="AB"[i % 2]) for i in range(4)])
    write_summary(many, tmp_path)
    for name, found in (("tradeoff", at_equal_cost(many)), ("sources", by_source(many))):
        assert found and (tmp_path / f"{name}.json").read_bytes() == write_records(found)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {"accuracy", "epsilon", *plot_tradeoffs(summarise(many))}
    more = [made_up(name, "mdda", DRAWS, "adaptive", 2.0) for name in ("eot50x8", "eot100x8")]
    write_summary(pd.concat([rows, *more]), tmp_path)
    assert (tmp_path / "convergence.svg").is_file()


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (7, 20), (20, 20), (300, 1000)])
def test_wilson_is_scipys(hits, count):
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    found = wilson(hits / count, count)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_the_table_holds_every_score_with_its_interval_and_says_what_the_attacker_knew(rows):
    records = summarise(rows)
    text = table(records)
    assert "eot20x8 2/255, adaptive, n = 60" in text and "pgd20 2/255, oblivious, n = 60" in text
    for r in records:
        assert f"{r.accuracy.value:.3f} ({r.accuracy.low:.3f} to {r.accuracy.high:.3f})" in text


def test_plots_show_what_the_records_say(rows):
    records = summarise(rows)
    panels = plot_grid(records).axes
    titles = ["none\nclean pictures", "pgd20 2/255\noblivious", "eot20x8 2/255\nadaptive", "any 2/255\nadaptive"]
    assert [panel.get_title() for panel in panels] == titles
    widths = [bar.get_width() for bar in panels[1].patches]
    assert widths == [r.accuracy.value for r in records if r.attack == "pgd20"]
    assert plot_convergence(records) is None  # one number of steps and of samples


def test_convergence_is_drawn_along_steps_and_samples():
    names = [("eot20x1", 1.0), ("eot50x1", 0.75), ("eot100x1", 0.5), ("eot20x4", 0.5), ("eot20x8", 0.25)]
    records = [record("mdda", name, accuracy=value) for name, value in names]
    steps, samples = plot_convergence(records).axes
    assert steps.lines[0].get_xydata().tolist() == [[20, 1.0], [50, 0.75], [100, 0.5]]
    assert samples.lines[0].get_xydata().tolist() == [[1, 1.0], [4, 0.5], [8, 0.25]]
    (only,) = plot_convergence(records[:3] + records[4:]).axes
    assert only.get_xlabel() == "steps"
    assert plot_convergence(records[:2]) is None


def test_sensitivity_has_a_panel_for_each_setting():
    trials = [
        {"setting": setting, "value": value, "accuracy": {"clean": 0.5, "PGD 2/255": value}}
        for setting in ("blocks", "own")
        for value in (0.1, 0.2)
    ]
    panels = plot_sensitivity(trials).axes
    assert [panel.get_title() for panel in panels] == ["blocks", "own"]
    assert panels[1].lines[1].get_ydata().tolist() == [0.1, 0.2]
