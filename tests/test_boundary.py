"""Boundary F1 against distances to every boundary pixel; parts against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from geounet.grid import Plan, intersect, shift
from geounet.learn.boundary import boundary_counts, boundary_f1, margin

CLASSES = 3


def drawn(shape=(61, 47), seed=0):
    """Truth with unknown pixels, and a map that is the truth's field, shifted and rougher."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), 4)
    other = np.roll(field, (2, -1), (0, 1)) + gaussian_filter(rng.normal(size=shape), 2) * 0.2
    cuts = np.quantile(field, [0.4, 0.7])
    truth, mapped = (np.digitize(f, cuts).astype(np.uint8) for f in (field, other))
    truth[rng.random(shape) < 0.02] = 255
    truth[20:30, 5:9] = 255
    return truth, mapped


def edge_of(labels, known, index):
    """By the definition: a known pixel of the class beside a known pixel of another."""
    rows, cols = labels.shape
    edge = np.zeros(labels.shape, bool)
    for r, c in np.argwhere((labels == index) & known):
        for i, j in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= i < rows and 0 <= j < cols and known[i, j] and labels[i, j] != index:
                edge[r, c] = True
    return edge


def by_distance(truth, mapped, tolerance):
    known = truth != 255
    counts = []
    for k in range(CLASSES):
        true, ours = edge_of(truth, known, k), edge_of(mapped, known, k)
        near_true, near_ours = (
            distance_transform_edt(~e) <= tolerance if e.any() else np.zeros_like(e)
            for e in (true, ours)
        )
        counts.append([ours.sum(), (ours & near_true).sum(), true.sum(), (true & near_ours).sum()])
    return np.array(counts)


def whole(labels):
    return tuple(slice(0, n) for n in labels.shape)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 2.0, 3.0, 4.3])
def test_counts_are_those_of_distances(tolerance):
    truth, mapped = drawn()
    ours = boundary_counts(truth, mapped, CLASSES, tolerance, whole(truth))
    np.testing.assert_array_equal(ours, by_distance(truth, mapped, tolerance))
    assert (ours > 0).all()


def tiled(truth, mapped, tolerance, around):
    total = np.zeros((CLASSES, 4), np.int64)
    for tile in Plan(truth.shape, 20, 4, 4).tiles:
        rows, cols = (slice(s.start - around, s.stop + around) for s in tile.core)
        seen = intersect((rows, cols), whole(truth))
        core = shift(tile.core, seen)
        total += boundary_counts(truth[seen], mapped[seen], CLASSES, tolerance, core)
    return total


@pytest.mark.parametrize("tolerance", [0.0, 2.0, 3.7])
def test_tiles_with_the_margin_add_up_to_the_whole(tolerance):
    truth, mapped = drawn()
    expected = boundary_counts(truth, mapped, CLASSES, tolerance, whole(truth))
    found = tiled(truth, mapped, tolerance, margin(tolerance))
    np.testing.assert_array_equal(found, expected)


def test_a_smaller_margin_shows():
    truth, mapped = drawn()
    expected = boundary_counts(truth, mapped, CLASSES, 2.0, whole(truth))
    assert (tiled(truth, mapped, 2.0, margin(2.0) - 1) != expected).any()


def test_the_same_map_scores_1_and_the_edge_of_labels_is_no_boundary():
    truth, _ = drawn()
    counts = boundary_counts(truth, truth, CLASSES, 0.0, whole(truth))
    np.testing.assert_array_equal(boundary_f1(counts), 1)
    alone = np.where(truth == 1, np.uint8(1), np.uint8(255))
    counts = boundary_counts(alone, np.ones_like(alone), CLASSES, 2.0, whole(truth))
    assert not counts.any()
    assert np.isnan(boundary_f1(counts)).all()


def test_a_line_moved_by_the_tolerance_scores_1_and_by_more_0():
    truth, near, far = (np.zeros((9, 30), np.uint8) for _ in range(3))
    truth[:, 10:], near[:, 12:], far[:, 14:] = 1, 1, 1
    for mapped, expected in ((near, 1.0), (far, 0.0)):
        counts = boundary_counts(truth, mapped, 2, 2.0, whole(truth))
        np.testing.assert_array_equal(boundary_f1(counts), expected)


def test_f1_is_of_precision_and_recall_and_0_where_one_side_has_no_boundary():
    counts = np.array([[10, 5, 8, 8], [4, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(boundary_f1(counts)[:2], [2 * 0.5 / 1.5, 0.0])
    assert np.isnan(boundary_f1(counts)[2])
    stacked = boundary_f1(np.stack([counts, counts[::-1]]))
    np.testing.assert_array_equal(stacked[1], boundary_f1(counts[::-1]))
