"""Losses against their definitions in NumPy, and the laws that training relies on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geounet.learn.loss_settings import LossSettings
from geounet.learn.losses import cross_entropy, dice_loss, log_probabilities, loss_of

SHAPE = (2, 3, 5)
ENTROPY = LossSettings(dice=0.0)
DICE = LossSettings(cross_entropy=0.0)

pytestmark = pytest.mark.usefixtures("strict_numerics")


def drawn(outputs: int, seed: int = 0, ignored: float = 0.3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (*SHAPE, outputs)).astype(np.float32)
    labels = rng.integers(0, max(outputs, 2), SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < ignored] = 255
    return jnp.asarray(logits), jnp.asarray(labels)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_probabilities_of_all_classes_sum_to_one(outputs):
    logits, _ = drawn(outputs)
    shares = jnp.exp(log_probabilities(logits))
    assert shares.shape == (*SHAPE, max(outputs, 2))
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-6)


def test_one_output_is_the_sigmoid_of_the_second_class():
    logits, _ = drawn(1)
    shares = jnp.exp(log_probabilities(logits))
    np.testing.assert_allclose(shares[..., 1], jax.nn.sigmoid(logits[..., 0]), rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_cross_entropy_is_the_mean_surprise_of_labelled_pixels(outputs):
    logits, labels = drawn(outputs)
    scores, truth = np.asarray(log_probabilities(logits)), np.asarray(labels)
    each = [-scores[at][truth[at]] for at in np.ndindex(*SHAPE) if truth[at] != 255]
    np.testing.assert_allclose(loss_of(logits, labels, ENTROPY), np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_dice_loss_is_one_minus_twice_the_overlap_over_the_sizes(outputs):
    logits, labels = drawn(outputs)
    shares, truth = np.exp(np.asarray(log_probabilities(logits))), np.asarray(labels)
    known = truth != 255
    each = [
        1 - 2 * share[known & (truth == k)].sum() / (share[known].sum() + (truth == k).sum())
        for k, share in enumerate(np.moveaxis(shares, -1, 0))
    ]
    np.testing.assert_allclose(loss_of(logits, labels, DICE), np.mean(each), rtol=1e-5)


@given(st.integers(0, 99), st.sampled_from([1, 3]))
def test_what_is_ignored_moves_neither_loss_nor_gradient(seed, outputs):
    logits, labels = drawn(outputs, seed)
    noise = np.random.default_rng(seed).normal(0, 5, logits.shape).astype(np.float32)
    other = jnp.where((labels == 255)[..., None], logits + noise, logits)
    settings = LossSettings(label_smoothing=0.1)
    value, slope = jax.value_and_grad(loss_of)(logits, labels, settings)
    assert value == loss_of(other, labels, settings)
    assert not np.asarray(slope)[np.asarray(labels) == 255].any()


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_without_labels_gives_zero_and_a_finite_gradient(outputs):
    logits, labels = drawn(outputs, ignored=1.1)
    value, slope = jax.value_and_grad(loss_of)(logits, labels, LossSettings())
    assert value == 0
    assert not np.asarray(slope).any()


@pytest.mark.parametrize("settings", [ENTROPY, DICE], ids=["entropy", "dice"])
def test_a_right_and_certain_map_costs_nothing_and_a_wrong_one_the_most(settings):
    _, labels = drawn(3)
    right = 40 * jax.nn.one_hot(labels, 3, dtype=jnp.float32)
    assert loss_of(right, labels, settings) == pytest.approx(0, abs=1e-5)
    wrong = loss_of(-right, labels, settings)
    assert wrong > loss_of(jnp.zeros_like(right), labels, settings) > 0.1


@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_are_finite_at_extreme_logits(outputs):
    logits, labels = drawn(outputs)
    slope = jax.grad(loss_of)(1e4 * logits, labels, LossSettings())
    assert np.isfinite(np.asarray(slope)).all()


def test_a_class_that_the_batch_lacks_does_not_count_in_dice():
    shares = jnp.asarray([[[[0.7, 0.2, 0.1]]]], jnp.float32)
    truth = jnp.asarray([[[[1.0, 0.0, 0.0]]]], jnp.float32)
    counted = jnp.ones((1, 1, 1), bool)
    assert dice_loss(shares, truth, counted) == pytest.approx(1 - 2 * 0.7 / 1.7)


def test_smoothing_puts_the_optimum_at_its_share_not_at_certainty():
    truth, counted = jnp.asarray([[[[0.0, 1.0]]]], jnp.float32), jnp.ones((1, 1, 1), bool)

    def at(share: float):
        scores = jnp.log(jnp.asarray([[[[1 - share, share]]]], jnp.float32))
        return float(cross_entropy(scores, truth, counted, 0.1))

    assert min((at(share), share) for share in (0.9, 0.95, 0.99))[1] == 0.95


def test_settings_with_nothing_to_learn_are_refused():
    with pytest.raises(ValidationError, match="nothing would be learnt"):
        LossSettings(cross_entropy=0, dice=0)
