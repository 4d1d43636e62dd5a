"""Bundled weights are those that were released."""

import shutil

import pytest

from purifier import files
from purifier.files import ASSETS, bundled_digests, check_bundled


def test_every_bundled_file_of_weights_is_in_the_manifest_as_it_is():
    there = {path.relative_to(ASSETS).as_posix() for path in ASSETS.rglob("*.safetensors")}
    drawn_by = {f"{name}/model.safetensors" for name in ("generator", "super-resolution")}  # not in the package
    assert set(bundled_digests()) == there - drawn_by
    check_bundled()


def test_other_weights_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ASSETS", tmp_path)
    for name in bundled_digests():
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copyfile(ASSETS / name, tmp_path / name)
    changed = tmp_path / "models" / "robust" / "model.safetensors"
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    check_bundled(tmp_path / "models" / "augmented")
    check_bundled(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="models/robust/model.safetensors are not those that were released"):
        check_bundled(changed.parent)
    changed.unlink()
    with pytest.raises(ValueError, match="models/robust/model.safetensors are missing"):
        check_bundled(tmp_path)


@pytest.mark.parametrize("load", ["load_classifier('robust')", "bundled_denoiser('cpu')"])
def test_loading_looks_at_them(monkeypatch, load):
    from purifier.classifiers import classifier
    from purifier.denoiser import bundled_denoiser

    monkeypatch.setattr(files, "bundled_digests", lambda: dict.fromkeys(bundled_digests(), "0" * 64))
    classifier._load_shared.cache.clear()
    bundled_denoiser.cache_clear()
    with pytest.raises(ValueError, match="are not those that were released"):
        eval(load, {"load_classifier": classifier.load_classifier, "bundled_denoiser": bundled_denoiser})
