"""The folder for pictures: this user's alone, and tidied of what nobody else deletes."""

import os
import time
from pathlib import Path

import pytest

from purifier.ui import folder


@pytest.fixture
def within(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temp"))
    return tmp_path / "temp"


def test_it_is_within_the_one_that_is_named_and_for_this_user_alone(within):
    folder.prepare()
    assert os.environ["GRADIO_TEMP_DIR"] == str(within / folder.NAME)
    assert list(within.iterdir()) == [within / folder.NAME] and not list((within / folder.NAME).iterdir())
    assert (within / folder.NAME).stat().st_mode & 0o777 == 0o700


def test_another_s_folder_is_refused(within, tmp_path):
    within.mkdir()
    (within / folder.NAME).symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="belongs to somebody else. Let GRADIO_TEMP_DIR name a folder"):
        folder.prepare()
    assert os.environ["GRADIO_TEMP_DIR"] == str(within)


def test_old_files_go_and_sooner_those_whose_upload_broke_off(within, monkeypatch):
    folder.prepare()
    own = within / folder.NAME
    (own / "hash").mkdir()
    for path in (within / "another's", own / "unfinished", own / "hash" / "lesion.png"):
        path.touch()
        os.utime(path, (0, 0))  # as a copy of an old file

    def left(seconds):
        now = time.time() + seconds
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: now)
            folder.tidy(540)
        return {path.name for path in within.rglob("*") if path.is_file()}

    assert left(50) == {"another's", "unfinished", "lesion.png"}
    assert left(70) == {"another's", "lesion.png"}
    assert left(530) == {"another's", "lesion.png"} and left(550) == {"another's"}


def test_a_folder_that_is_left_empty_goes_later_and_what_cannot_be_deleted_keeps_nothing_else(within, monkeypatch):
    folder.prepare()
    own = within / folder.NAME
    for name in ("a", "b"):
        (own / name).mkdir()
        (own / name / "lesion.png").touch()
    delete = Path.unlink

    def refused(path, **options):
        if path.parent.name == "a":
            raise PermissionError(path)
        delete(path, **options)

    with monkeypatch.context() as readonly:
        readonly.setattr(Path, "unlink", refused)
        folder.tidy(-1.0)
    assert [path.relative_to(own).as_posix() for path in sorted(own.rglob("*"))] == ["a", "a/lesion.png", "b"]
    folder.tidy(-1.0)
    folder.tidy(-1.0)
    assert not list(own.iterdir())


def test_a_folder_of_others_is_not_tidied(within):
    within.mkdir()
    (within / "another's").touch()
    folder.tidy(-1.0)
    assert (within / "another's").exists()
