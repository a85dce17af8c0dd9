"""Scores from a confusion matrix, against set arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geounet.learn import metrics

CLASSES = 4
truths = arrays(np.uint8, (7, 5), elements=st.sampled_from([0, 1, 2, 3, 255]))
maps = arrays(np.uint8, (7, 5), elements=st.integers(0, CLASSES - 1))


@given(truths, maps)
def test_scores_are_those_of_sets_of_pixels(truth, mapped):
    confusion = metrics.confusion_of(truth, mapped, CLASSES)
    known = truth != 255
    for k in range(CLASSES):
        is_k, as_k = (truth == k) & known, (mapped == k) & known
        hits, either = (is_k & as_k).sum(), (is_k | as_k).sum()
        expected = [
            (metrics.iou, hits, either),
            (metrics.f1, 2 * hits, is_k.sum() + as_k.sum()),
            (metrics.precision, hits, as_k.sum()),
            (metrics.recall, hits, is_k.sum()),
        ]
        for score, part, whole in expected:
            want = part / whole if whole else np.nan
            np.testing.assert_allclose(score(confusion)[k], want)


@given(truths, maps, truths, maps)
def test_confusion_of_two_parts_is_the_sum_of_theirs(truth, mapped, more_truth, more_mapped):
    both = metrics.confusion_of(
        np.concatenate([truth, more_truth]), np.concatenate([mapped, more_mapped]), CLASSES
    )
    parts = metrics.confusion_of(truth, mapped, CLASSES) + metrics.confusion_of(
        more_truth, more_mapped, CLASSES
    )
    np.testing.assert_array_equal(both, parts)


@given(truths, maps)
def test_every_labelled_pixel_is_counted_once(truth, mapped):
    assert metrics.confusion_of(truth, mapped, CLASSES).sum() == (truth != 255).sum()


@pytest.mark.parametrize("score", [metrics.iou, metrics.f1, metrics.precision, metrics.recall])
def test_a_class_that_neither_side_has_scores_nan(score):
    truth = np.array([0, 0, 1], np.uint8)
    scores = score(metrics.confusion_of(truth, np.array([0, 1, 1], np.uint8), 3))
    assert np.isfinite(scores[:2]).all()
    assert np.isnan(scores[2])


def test_a_missed_class_scores_zero_not_nan():
    truth, mapped = np.array([0, 1], np.uint8), np.array([0, 0], np.uint8)
    confusion = metrics.confusion_of(truth, mapped, 2)
    assert metrics.iou(confusion)[1] == 0
    assert metrics.recall(confusion)[1] == 0
    assert np.isnan(metrics.precision(confusion)[1])


SCORES = [metrics.iou, metrics.f1, metrics.precision, metrics.recall, metrics.accuracy]


@pytest.mark.parametrize("score", SCORES)
def test_a_stack_of_matrices_is_scored_one_by_one(score):
    stack = np.random.default_rng(0).integers(0, 5, (6, 3, 3))
    stack[0, 2] = stack[0, :, 2] = 0
    stack[1] = 0
    np.testing.assert_array_equal(score(stack), [score(one) for one in stack])


def test_accuracy_and_macro_means():
    confusion = np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    assert metrics.accuracy(confusion) == 0.8
    np.testing.assert_allclose(metrics.macro(metrics.iou(confusion)), (6 / 8 + 2 / 4) / 2)
    assert np.isnan(metrics.accuracy(np.zeros((2, 2), int)))
    assert np.isnan(metrics.macro(np.full(2, np.nan)))
