import math

import pytest
import torch
from scipy.stats import beta, norm

from purifier.smoothing import certificate, noisy_counts


def linear(x):
    """Class 1 where the mean is above 0.5: the distance to the border is known."""
    distance = (x.mean(dim=(1, 2, 3)) - 0.5) * 100
    return torch.stack((-distance, distance), dim=1)


def counted(x, sigma, samples, seed=0):
    *_, counts = noisy_counts(linear, x, sigma=sigma, samples=samples, generator=torch.Generator().manual_seed(seed))
    return counts


def test_the_radius_of_a_linear_classifier_is_close_to_and_never_above_its_distance_from_the_border():
    side = 9
    x = torch.full((1, 3, side, side), 0.5) + 0.02
    distance = 0.02 * math.sqrt(x.numel())  # in the L2 norm, along the gradient
    radius = certificate(1, counted(x, sigma=0.25, samples=4000), sigma=0.25).radius
    assert 0.85 * distance < radius <= distance


def test_it_abstains_at_the_border():
    found = certificate(0, counted(torch.full((1, 3, 9, 9), 0.5), sigma=0.25, samples=200), sigma=0.25)
    assert found.label is None and found.radius == 0


def test_with_every_answer_the_same_the_bound_is_that_of_clopper_and_pearson():
    found = certificate(0, torch.tensor([100, 0]), sigma=0.5, alpha=0.001)
    assert found.share == pytest.approx(0.001 ** (1 / 100))


def test_a_certificate_says_what_it_is_of():
    counts = torch.tensor([100, 900])
    lower = [beta.ppf(0.01, count, 1001 - count) for count in (100, 900)]  # Clopper and Pearson (1934)
    found = certificate(1, counts, sigma=0.5, alpha=0.01)
    assert (found.label, found.alpha) == (1, 0.01)
    assert (found.share, found.radius) == pytest.approx((lower[1], 0.5 * norm.ppf(lower[1])))
    abstained = certificate(0, counts, sigma=0.5, alpha=0.01)
    assert (abstained.label, abstained.radius, abstained.alpha) == (None, 0, 0.01)
    assert abstained.share == pytest.approx(lower[0])


def test_counts_grow_to_the_samples_and_do_not_depend_on_the_batch():
    x = torch.full((1, 3, 9, 9), 0.51)
    settings = dict(sigma=0.25, samples=20)
    found = [
        [
            c.tolist()
            for c in noisy_counts(linear, x, **settings, generator=torch.Generator().manual_seed(3), batch=batch)
        ]
        for batch in (1, 7)
    ]
    assert [sum(counts) for counts in found[1]] == [7, 14, 20]
    assert found[0][-1] == found[1][-1]
