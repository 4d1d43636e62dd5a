import json

import pytest

from purifier.cli import main


def test_evaluate_writes_what_it_prints(small_isic2019, tmp_path, capsys):
    out = tmp_path / "figures.json"
    command = "evaluate --split all --limit 3 --eps 4 --steps 2 --draws 2".split()
    assert main([*command, "--data", str(small_isic2019), "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    assert (printed["images"], printed["draws"], printed["split"], printed["threat"]) == (3, 2, "all", "oblivious")
    assert printed["attack"] == {"method": "pgd", "eps": 4 / 255, "steps": 2}
    assert 0 <= printed["clean"]["low"] <= printed["clean"]["value"] <= printed["clean"]["high"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "GroundTruth.csv"),
        (["--data", "{data}", "--classifier", "nothing"], "bundled classifier 'nothing'"),
        (["--data", "{data}", "--eps", "-1"], "eps"),
        (["--data", "{data}", "--split", "all", "--limit", "0"], "limit must be at least 1"),
        (["--data", "{data}", "--split", "all", "--draws", "0"], "draws must be at least 1"),
    ],
)
def test_bad_input_ends_with_2_and_the_reason(small_isic2019, capsys, options, message):
    assert main(["evaluate", *(option.format(data=small_isic2019) for option in options)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_without_a_command_it_says_how_to_use_it(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage: purifier" in capsys.readouterr().err
