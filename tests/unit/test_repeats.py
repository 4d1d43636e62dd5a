"""The same settings give the same pixels in another process, and how far apart they are with other threads. What is
found is told in docs/evaluation.md."""

import os
import subprocess
import sys

import pytest
import torch

from tests.helpers.paths import ROOT

PROGRAM = """
import sys, torch
from purifier import Purifier, fgsm, load_classifier, mi_fgsm, pgd, read_image

torch.set_num_threads(int(sys.argv[1]))
classifier, x = load_classifier(), read_image("assets/examples/MEL-1.png")
y, noise = classifier(x).argmax(dim=1), lambda: torch.Generator().manual_seed(0)
steps = dict(eps=2 / 255, step=0.5 / 255, steps=10)
found = {"read": x, "logits": classifier(x), "fgsm": fgsm(classifier, x, y, eps=2 / 255)}
found["pgd"] = pgd(classifier, x, y, **steps, random_start=True, generator=noise())
found["mi_fgsm"] = mi_fgsm(classifier, x, y, **steps)
with torch.no_grad():
    for denoiser in ("rof", "learned"):
        found[denoiser] = Purifier(denoiser=denoiser)(x, noise())
torch.save({name: value.detach() for name, value in found.items()}, sys.argv[2])
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By name, from processes of their own: twice with one thread, and once with two."""
    folder, processes = tmp_path_factory.mktemp("repeats"), []
    for name, threads in (("one", 1), ("again", 1), ("two", 2)):
        command = [sys.executable, "-c", PROGRAM, str(threads), str(folder / name)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait do not spin, which is slow beside other work
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        processes.append(torch.load(folder / name))
    return processes


def test_another_process_gives_the_same_to_the_last_digit(found):
    one, again, _ = found
    assert [name for name, value in one.items() if not torch.equal(value, again[name])] == []


def test_pictures_are_read_and_purified_alike_with_any_number_of_threads(found):
    one, _, two = found
    assert [name for name in ("read", "rof", "learned") if not torch.equal(one[name], two[name])] == []


def test_what_a_classifier_gives_differs_in_the_last_digits_and_an_attack_follows_it(found):
    """A step goes by the sign of each gradient; where that is nearly 0, the last digits decide."""
    one, _, two = found
    assert (one["logits"] - two["logits"]).abs().max() < 1e-4
    assert (one["fgsm"] != two["fgsm"]).float().mean() < 0.001
    for attack in ("pgd", "mi_fgsm"):
        assert (one[attack] - two[attack]).abs().mean() < 2 / 255  # at most 4 / 255, twice epsilon
