import pytest
import torch
from torch.testing import assert_close

from purifier.evaluation.datasets import read_isic2019
from purifier.training import likeness


def features(count, seed=0, spread=1.0):
    return spread * torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_training_picture_is_found():
    known = features(600)
    distances, places = likeness.nearest(known[[3, 599]] + 1e-3, known)
    assert places.tolist() == [3, 599] and distances.max() < 0.01


def test_a_copy_of_a_training_picture_is_found(small_isic2019):
    training = likeness.small_pictures(read_isic2019(small_isic2019, "train"))
    x = torch.cat([training[:2], 1 - training[:2]])
    found = likeness.nearness(*map(likeness.flat, (x, 1 - training, training)))
    assert found.places[:2].tolist() == [0, 1] and found.distances[:2].max() < 1e-3 < 0.1 < found.distances[2:].min()
    assert found.bound > 0.1  # here the held-out ones are negatives


def test_distances_by_pixels_are_of_the_pixel_range():
    x = torch.zeros(2, 3, 8, 8)
    x[1] += 0.25
    assert torch.cdist(*likeness.flat(x)[:, None]).item() == pytest.approx(0.25)


def test_what_lies_among_many_is_more_realistic_than_what_lies_apart():
    known, own = features(400), features(400, seed=1)
    found = likeness.realism(torch.cat([own, own + 9, known.mean(dim=0, keepdim=True)]), known)
    assert found[400:800].max() < found[:400].min() and found[-1] > 1
    assert (found[:400] >= 1).float().mean() == pytest.approx(likeness.inside(own, known), abs=0.35)


def test_an_outlier_makes_nothing_realistic():
    known = torch.cat([features(40), torch.full((1, 16), 50.0)])
    assert likeness.realism(torch.full((1, 16), 49.0), known).item() < 0.1


def test_neighbours_stand_below_each_picture():
    x, known = torch.zeros(2, 3, 4, 4), torch.arange(1, 4).reshape(3, 1, 1, 1).expand(3, 3, 4, 4) / 4
    shown = likeness.beside_nearest(x, known, torch.tensor([2, 0]), torch.tensor([1, 1]))
    assert shown.shape == (1, 3, 16, 11)
    assert_close(shown[0, 0, 2::5, 2::5], torch.tensor([[0, 0], [0.75, 0.25], [0.5, 0.5]]))
