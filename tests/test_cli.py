import pytest

from purifier.cli import main


def test_without_a_command_it_says_how_to_use_it(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage: purifier" in capsys.readouterr().err
