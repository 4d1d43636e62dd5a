from purifier.results.detection import among, read_detections
from tests.helpers.records import around, detected, store_detection


def test_what_a_run_found_is_read_back(tmp_path):
    found = [
        detected(attack="none", eps=None, share=0.04),
        detected(area=0.9, share=0.6, called=around(0.5)),
        detected(area=0.95, share=0.7, successful=True),
        detected("squeezing", area=0.8, source="MSK"),
    ]
    store_detection(tmp_path / "augmented", found)
    store_detection(tmp_path / "robust", found[:1])
    assert read_detections(tmp_path) == {"augmented": found, "robust": found[:1]}
    assert read_detections(tmp_path / "nowhere") == {}


def test_one_is_found_by_what_it_is_of():
    found = [detected(), detected(successful=True), detected("squeezing"), detected(eps=8.0), detected(source="MSK")]
    assert among(found, "pgd20", 2.0) is found[0]
    assert among(found, "pgd20", 2.0, successful=True) is found[1]
    assert among(found, "pgd20", 2.0, "squeezing") is found[2]
    assert among(found, "pgd20", 4.0) is among(found, "fgsm", 2.0) is None


def test_who_evades_a_detector_knows_that_one_alone():
    names = ("alarm", "squeezing")
    evaded = {attack: [detected(name, attack).evaded for name in names] for attack in ("pgd20", "evade20x4")}
    assert evaded == {"pgd20": [False, False], "evade20x4": [True, False]}
    assert [detected(name, "evade-squeezing20").evaded for name in names] == [False, True]
