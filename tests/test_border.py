"""Border weights against their formula, distance by distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geounet.learn.border import border_weights
from geounet.learn.loss_settings import LossSettings

PAPER = LossSettings(border=10)
NARROW = LossSettings(border=10, border_sigma=1.5)


def objects_of(labels):
    """Flood-filled parts of classes 1 to 254, each as a set of pixels."""
    left = {at for at in np.ndindex(*labels.shape) if labels[at] not in (0, 255)}
    while left:
        part, todo = set(), [left.pop()]
        while todo:
            at = todo.pop()
            part.add(at)
            for beside in beside_of(at):
                if beside in left and labels[beside] == labels[at]:
                    left.remove(beside)
                    todo.append(beside)
        yield part


def beside_of(at):
    return [(at[0] + r, at[1] + c) for r, c in ((0, 1), (1, 0), (0, -1), (-1, 0))]


def by_hand(labels, w0, sigma):
    """The paper's equation with every distance to every border pixel of every object."""
    inside = set(np.ndindex(*labels.shape))
    borders = []
    for part in objects_of(labels):
        beside = {
            at for at in part if any(b in inside - part and labels[b] != 255 for b in beside_of(at))
        }
        borders += [beside] * bool(beside)
    weights = np.ones(labels.shape)
    for at in np.ndindex(*labels.shape):
        nearest = sorted(min(np.hypot(at[0] - r, at[1] - c) for r, c in b) for b in borders)[:2]
        if len(nearest) == 2:
            weights[at] += w0 * np.exp(-(sum(nearest) ** 2) / (2 * sigma**2))
    return weights


@given(st.integers(0, 999), st.sampled_from([PAPER, NARROW]))
def test_the_weights_are_the_formula(seed, settings):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(17, 23)), 1.5) * 12
    labels = np.clip(np.round(smooth + 1), 0, 3).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.05] = 255
    expected = by_hand(labels, settings.border, settings.border_sigma)
    np.testing.assert_allclose(border_weights(labels, settings), expected, atol=1e-3)


def test_the_gap_between_two_objects_weighs_more_the_narrower_it_is():
    labels = np.zeros((15, 41), np.uint8)
    labels[:, :10], labels[:, 12:20], labels[:, 30:] = 1, 1, 1
    weights = border_weights(labels, PAPER)[7]
    # Beside each other across two pixels: d1 + d2 = 3 in the gap, 11 in the one of ten pixels.
    np.testing.assert_allclose(weights[10:12], 1 + 10 * np.exp(-9 / 50), rtol=1e-6)
    np.testing.assert_allclose(weights[20:30], 1 + 10 * np.exp(-121 / 50), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_where_no_two_objects_meet_every_pixel_weighs_one(value):
    np.testing.assert_array_equal(border_weights(np.full((9, 11), value, np.uint8), PAPER), 1)
    labels = np.zeros((9, 11), np.uint8)
    labels[3:6, 4:7] = value
    np.testing.assert_array_equal(border_weights(labels, PAPER), 1)


def test_two_classes_that_touch_are_two_objects():
    labels = np.ones((9, 12), np.uint8)
    labels[:, 6:] = 2
    weights = border_weights(labels, PAPER)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights[:, 5:7], 1 + 10 * np.exp(-1 / 50), rtol=1e-6)
    assert (np.diff(weights[0, 6:]) < 0).all()


def test_neither_the_edge_of_the_chip_nor_the_unknown_makes_a_border():
    labels = np.full((9, 12), 255, np.uint8)
    labels[:, :4], labels[:, 8:] = 1, 1
    np.testing.assert_array_equal(border_weights(labels, PAPER), 1)


def test_what_lies_beyond_the_reach_changes_nothing():
    """The same weights in a chip ten times larger."""
    labels = np.zeros((90, 110), np.uint8)
    labels[40:44, 50:53], labels[40:44, 55:58] = 1, 1
    small = border_weights(labels[38:46, 48:60], NARROW)
    np.testing.assert_allclose(border_weights(labels, NARROW)[38:46, 48:60], small, rtol=1e-6)
