"""How many points, and where: Olofsson et al. 2014 section 5.1, and properties of every share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.assess.allocation import Prospect, allocate, expected_error, sample_size
from geounet.errors import SettingsError

PAPER = [
    Prospect("deforestation", 200_000, 0.020, 0.70),
    Prospect("forest gain", 150_000, 0.015, 0.60),
    Prospect("stable forest", 3_200_000, 0.320, 0.90),
    Prospect("stable non-forest", 6_450_000, 0.645, 0.95),
]


def test_the_size_of_olofsson_2014():
    """The paper prints 641 for a standard error of 0.01."""
    assert sample_size(PAPER, 0.01) == 641
    assert expected_error(PAPER, allocate(PAPER, 641, "neyman", 2)) == pytest.approx(0.01, rel=1e-3)


def test_the_size_of_a_simple_random_sample_is_cochrans():
    """Cochran 1977, eq. 4.2: n0 = p (1 − p) / se², then n0 / (1 + n0 / N)."""
    n0 = 0.9 * 0.1 / 0.02**2
    assert sample_size([Prospect("all", 1000, 1.0, 0.9)], 0.02) == np.ceil(n0 / (1 + n0 / 1000))


@pytest.mark.parametrize(
    ("scheme", "points"),
    [
        ("equal", [160, 160, 160, 160]),
        ("proportional", [13, 9, 205, 413]),
        ("neyman", [23, 19, 243, 355]),
    ],
)
def test_shares_without_a_floor(scheme, points):
    assert allocate(PAPER, 640, scheme, 2).tolist() == points


def test_rare_classes_get_their_least_and_the_rest_is_proportional():
    points = allocate(PAPER, 640, "proportional", 75)
    assert points.tolist() == [75, 75, 162, 328]


@st.composite
def problems(draw):
    number = draw(st.integers(1, 6))
    pixels = draw(st.lists(st.integers(1, 2000), min_size=number, max_size=number))
    accuracy = draw(st.lists(st.floats(0.01, 0.99), min_size=number, max_size=number))
    prospects = [
        Prospect(str(i), n, n / sum(pixels), u)
        for i, (n, u) in enumerate(zip(pixels, accuracy, strict=True))
    ]
    least = draw(st.integers(2, 60))
    lowest = sum(min(least, n) for n in pixels)
    return prospects, draw(st.integers(lowest, sum(pixels))), least


@given(problems(), st.sampled_from(["neyman", "proportional", "equal"]))
def test_points_sum_to_the_size_within_their_bounds(problem, scheme):
    prospects, size, least = problem
    points = allocate(prospects, size, scheme, least)
    assert points.sum() == size
    for n, p in zip(points.tolist(), prospects, strict=True):
        assert min(least, p.pixels) <= n <= p.pixels


@given(problems())
def test_neyman_is_the_best_for_overall_accuracy(problem):
    prospects, size, _ = problem
    if size < 4 * len(prospects):
        return
    best = expected_error(prospects, allocate(prospects, size, "neyman", 2))
    for other in ("proportional", "equal"):
        # Whole points may make the better share a little worse.
        points = allocate(prospects, size, other, 2)
        assert best <= expected_error(prospects, points) * 1.05 + 1e-12


def test_too_few_and_too_many_points_are_refused():
    with pytest.raises(SettingsError, match=r"too few for 4 strata of at least 50.*--size 200"):
        allocate(PAPER, 150, "proportional", 50)
    with pytest.raises(SettingsError, match="more than the 30 pixels"):
        allocate([Prospect("a", 30, 1.0, 0.9)], 31, "equal", 2)
