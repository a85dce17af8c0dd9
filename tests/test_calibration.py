"""Confidence against how often it is right, and the temperature that mends it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from geounet.errors import InputError
from geounet.learn.calibration import (
    BINS,
    NATS,
    TEMPERATURES,
    WHOLE,
    best_temperature,
    calibration_error,
    fit_temperature,
    likelihood_of,
    reliability_of,
    reliability_rows,
)
from geounet.learn.training import temperature_of
from tests.nets import architecture, random_net


def drawn(classes, seed=0, pixels=3000, sharpness=4.0):
    """Logits and labels, drawn from the logits' own probabilities once divided by sharpness."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (pixels, classes)).astype(np.float32)
    shares = np.exp(log_softmax(logits / sharpness, axis=-1))
    labels = (rng.random((pixels, 1)) > shares.cumsum(axis=-1)).sum(axis=-1)
    return logits, np.minimum(labels, classes - 1).astype(np.uint8)


def loss_at(temperature, logits, labels):
    known = labels != 255
    logs = log_softmax(np.float64(logits[known]) / temperature, axis=-1)
    return -np.take_along_axis(logs, labels[known].astype(int)[:, None], axis=-1).sum()


def one_logit(logits):
    return logits[:, 1:] - logits[:, :1]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_is_that_of_least_loss(classes, sharpness):
    logits, labels = drawn(classes, sharpness=sharpness)
    labels[::7] = 255
    best = minimize_scalar(
        lambda t: loss_at(np.exp(t), logits, labels), bounds=(-3, 3), method="bounded"
    )
    given_logits = one_logit(logits) if classes == 2 else logits
    found = fit_temperature(
        [(given_logits[:900], labels[:900]), (given_logits[900:], labels[900:])]
    )
    assert found == pytest.approx(np.exp(best.x), rel=2e-3)
    assert found == pytest.approx(sharpness, rel=0.15)


def test_the_likelihood_is_summed_at_each_temperature():
    logits, labels = drawn(3)
    labels[:5] = 255
    found = likelihood_of(logits, labels)
    expected = [loss_at(t, logits, labels) for t in TEMPERATURES]
    np.testing.assert_allclose(found[:, 0] / NATS, expected, rtol=1e-5)
    steps = np.gradient(expected, 1 / TEMPERATURES)
    np.testing.assert_allclose(found[10:30, 1] / NATS, steps[10:30], rtol=0.05, atol=20)


def test_likelihoods_of_parts_add_up_in_any_order():
    logits, labels = drawn(3)
    parts = [likelihood_of(logits[k::5], labels[k::5]) for k in range(5)]
    np.testing.assert_array_equal(sum(parts), sum(reversed(parts)))
    np.testing.assert_allclose(sum(parts), likelihood_of(logits, labels), rtol=1e-5, atol=5)


def test_tempering_mends_the_calibration():
    logits, labels = drawn(3, pixels=20_000)
    temperature = fit_temperature([(logits, labels)])

    def error(t):
        shares = np.exp(log_softmax(logits / t, axis=-1))
        right = shares.argmax(axis=-1) == labels
        return float(calibration_error(reliability_of(np.float32(shares.max(axis=-1)), right)))

    assert error(1.0) > 0.2
    assert error(temperature) < 0.02


def test_only_right_answers_do_not_tell_how_sure_to_be_and_only_wrong_ones_tell_to_be_unsure():
    logits = np.float32([[9, 0, 0], [0, 9, 0]])
    assert fit_temperature([(logits, np.uint8([0, 1]))]) is None
    assert fit_temperature([(np.zeros_like(logits), np.uint8([0, 1]))]) is None
    assert fit_temperature([(logits, np.uint8([1, 2]))]) == pytest.approx(TEMPERATURES[-1])


def test_without_labels_the_temperature_stays_1():
    assert fit_temperature([]) == 1.0
    assert fit_temperature([(np.ones((4, 3), np.float32), np.full(4, 255, np.uint8))]) == 1.0
    assert 1.0 in TEMPERATURES


def test_far_logits_stay_finite():
    logits = np.float32([[3e4, -3e4], [-3e4, 3e4]])
    found = likelihood_of(logits, np.uint8([1, 0]))
    assert (found[:, 0] > 0).all()
    assert best_temperature(found) == TEMPERATURES[-1]


@given(st.lists(st.tuples(st.floats(0.25, 1, width=32), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_that_of_the_definition(pixels):
    confidence, right = (np.array(side) for side in zip(*pixels, strict=True))
    confidence = confidence.astype(np.float32)
    expected = 0.0
    for k in range(BINS):
        inside = (confidence * BINS > k) & (confidence * BINS <= k + 1)
        if inside.any():
            gap = abs(right[inside].mean() - np.float64(confidence[inside]).mean())
            expected += inside.mean() * gap
    found = reliability_of(confidence, right)
    assert found[:, 0].sum() == len(pixels)
    assert float(calibration_error(found)) == pytest.approx(expected, abs=1e-6)


def test_confidence_of_0_and_1_have_a_bin():
    found = reliability_of(np.float32([0, 1]), np.array([False, True]))
    np.testing.assert_array_equal(found[[0, -1]], [[1, 0, 0], [1, 1, WHOLE]])


def test_the_table_has_the_bins_with_pixels():
    found = reliability_of(np.float32([0.9, 0.91, 0.5]), np.array([True, False, True]))
    low, high = reliability_rows(found)
    assert (low["pixels"], high["pixels"]) == (1, 2)
    assert high["accuracy"] == 0.5
    assert high["confidence"] == pytest.approx(0.905)
    assert high["above"] < 0.9 < high["up_to"]


def test_nothing_has_no_calibration_error():
    nothing = reliability_of(np.zeros(0, np.float32), np.zeros(0, bool))
    assert np.isnan(calibration_error(nothing))


class Held:
    """What ``temperature_of`` wants of training data."""

    def __init__(self, validation):
        self.mean, self.std, self.validation = (0.1, 0.2), (0.5, 0.25), validation
        self.pairs = ()


def test_a_training_tempers_its_network_on_the_validation_chips():
    network = random_net(architecture(depth=1, base_filters=2, bands=2, outputs=3))
    rng = np.random.default_rng(0)
    chips, logits, truth = [], [], []
    for _ in range(3):
        image = rng.normal(0, 0.5, (16, 16, 2)).astype(np.float32)
        image[5, :7, 1] = np.nan
        seen = np.isfinite(image).all(axis=-1)
        scaled = np.where(seen[..., None], (image - [0.1, 0.2]) / [0.5, 0.25], 0)
        said = np.asarray(network(np.float32(scaled)[None])[0])
        # Drawn from what the network says at a temperature of 2.
        labels = (said / 2 + rng.gumbel(size=said.shape)).argmax(axis=-1).astype(np.uint8)
        labels[2] = 255
        chips.append((image, labels))
        logits.append(said[seen])
        truth.append(labels[seen])
    pixels = np.concatenate(logits), np.concatenate(truth)
    best = minimize_scalar(
        lambda t: loss_at(np.exp(t), *pixels), bounds=(-2.3, 2.3), method="bounded"
    )
    assert temperature_of(network, Held(chips)) == pytest.approx(np.exp(best.x), rel=2e-3)
    assert temperature_of(network, Held([])) == 1.0


def test_no_temperature_is_fitted_to_nothing():
    with pytest.raises(InputError, match="no labelled pixel was counted"):
        best_temperature(np.zeros((len(TEMPERATURES), 2), np.int64))
