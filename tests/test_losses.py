"""Losses against their definitions in NumPy, and the laws that training relies on."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geounet.errors import SettingsError
from geounet.learn import losses
from geounet.learn.loss_settings import TERMS, LossSettings

SHAPE = (2, 3, 5)
NOTHING = dict.fromkeys(TERMS, 0.0)
ALONE = {name: LossSettings(**(NOTHING | {name: 1.0})) for name in TERMS}
ALL = LossSettings(**dict.fromkeys(TERMS, 1.0), label_smoothing=0.1, focal_gamma=0.5)

pytestmark = pytest.mark.usefixtures("strict_numerics")


def _each(logits, labels, balance, weights):
    """Every loss alone, by name: compiled together, as compiling is what tests wait for."""
    return {n: losses.loss_of(logits, labels, s, balance, weights) for n, s in ALONE.items()}


each_of = jax.jit(_each)
loss_of = jax.jit(losses.loss_of, static_argnums=2)
value_and_slope = jax.jit(jax.value_and_grad(losses.loss_of), static_argnums=2)
log_probabilities = jax.jit(losses.log_probabilities)


def drawn(outputs: int, seed: int = 0, ignored: float = 0.3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (*SHAPE, outputs)).astype(np.float32)
    labels = rng.integers(0, max(outputs, 2), SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < ignored] = 255
    return logits, labels


def one_hot(labels, classes):
    return (labels[..., None] == np.arange(classes)).astype(np.float32)


def even(classes: int):
    """Weights of classes and of pixels that change nothing."""
    return np.ones(classes, np.float32), np.ones(SHAPE, np.float32)


def uneven(classes: int, seed: int = 0):
    """Weights of classes and of pixels, none of them equal."""
    rng = np.random.default_rng(seed)
    pair = (rng.uniform(0.5, 2, classes), rng.uniform(0.5, 3, SHAPE))
    return tuple(part.astype(np.float32) for part in pair)


def shares_of(logits):
    """Softmax in double precision, by its definition; one output is the sigmoid of class 1."""
    z = np.asarray(logits, np.float64)
    if z.shape[-1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=-1)
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def by_pixel(each, truth, balance, weights):
    """Weighted mean of what each labelled pixel costs."""
    places = [at for at in np.ndindex(*SHAPE) if truth[at] != 255]
    heft = [balance[truth[at]] * weights[at] for at in places]
    return np.dot([each(at) for at in places], heft) / np.sum(heft)


def by_class(each, truth, balance):
    """Weighted mean over the classes that have a pixel."""
    present = [k for k in range(len(balance)) if (truth == k).any()]
    return np.dot([each(k) for k in present], balance[present]) / balance[present].sum()


def tversky(shares, truth, weights, klass, alpha, beta):
    known = truth != 255
    w, p, g = weights[known], shares[known][:, klass], (truth[known] == klass)
    hits, false, missed = (w * p * g).sum(), (w * p * ~g).sum(), (w * (1 - p) * g).sum()
    return 1 - hits / (hits + alpha * false + beta * missed)


def lovasz(shares, truth, weights, klass):
    """The extension by its definition: errors from large to small, each with its set's growth."""
    known = truth != 255
    w, g = weights[known], truth[known] == klass
    errors = np.abs(g - shares[known][:, klass])
    order, total, before = np.argsort(-errors, kind="stable"), 0.0, 0.0
    for i in range(len(order)):
        wrong = np.isin(np.arange(len(order)), order[: i + 1])
        mapped = g ^ wrong
        cost = 1 - (w * (g & mapped)).sum() / (w * (g | mapped)).sum()
        total, before = total + errors[order[i]] * (cost - before), cost
    return total


def expected(name, logits, labels, balance, weights):
    """What a loss costs, by hand."""
    shares, truth = shares_of(logits), np.asarray(labels)
    balance, weights = np.asarray(balance, np.float64), np.asarray(weights, np.float64)
    if name == "cross_entropy":
        return by_pixel(lambda at: -np.log(shares[at][truth[at]]), truth, balance, weights)
    if name == "focal":
        p = lambda at: shares[at][truth[at]]  # noqa: E731
        return by_pixel(lambda at: -((1 - p(at)) ** 2) * np.log(p(at)), truth, balance, weights)
    each = {
        "dice": lambda k: tversky(shares, truth, weights, k, 0.5, 0.5),
        "tversky": lambda k: tversky(shares, truth, weights, k, 0.3, 0.7),
        "focal_tversky": lambda k: tversky(shares, truth, weights, k, 0.3, 0.7) ** 0.75,
        "lovasz": lambda k: lovasz(shares, truth, weights, k),
    }[name]
    return by_class(each, truth, balance)


@pytest.mark.parametrize("outputs", [1, 3])
def test_probabilities_of_all_classes_sum_to_one(outputs):
    shares = np.exp(log_probabilities(drawn(outputs)[0]))
    assert shares.shape == (*SHAPE, max(outputs, 2))
    np.testing.assert_allclose(shares, shares_of(drawn(outputs)[0]), rtol=1e-5)


@pytest.mark.parametrize("weigh", [even, uneven])
@pytest.mark.parametrize("outputs", [1, 3])
def test_each_loss_is_its_definition(outputs, weigh):
    for seed in range(3):
        logits, labels = drawn(outputs, seed)
        weights = weigh(max(outputs, 2))
        for name, found in each_of(logits, labels, *weights).items():
            assert found.dtype == jnp.float32
            value = expected(name, logits, labels, *weights)
            np.testing.assert_allclose(found, value, rtol=1e-5, err_msg=name)


def test_weights_that_are_all_equal_change_nothing():
    logits, labels = drawn(3)
    weights = [tuple(n * part for part in even(3)) for n in (1, 2)]
    found = [value_and_slope(logits, labels, ALL, *pair)[0] for pair in weights]
    np.testing.assert_allclose(found, loss_of(logits, labels, ALL), rtol=1e-5)


def test_a_pixel_of_weight_two_counts_as_two_pixels():
    logits, labels = drawn(3)
    balance, double = even(3)
    double[0] = 2
    repeated = [np.concatenate([part, part[:1]]) for part in (logits, labels)]
    once = loss_of(*repeated, ALL)
    found = value_and_slope(logits, labels, ALL, balance, double)[0]
    np.testing.assert_allclose(found, once, rtol=1e-5)


def test_the_losses_are_added_with_their_weights():
    logits, labels = drawn(3)
    mixed = LossSettings(cross_entropy=0.5, dice=2, lovasz=3)
    parts = each_of(logits, labels, *even(3))
    total = 0.5 * parts["cross_entropy"] + 2 * parts["dice"] + 3 * parts["lovasz"]
    np.testing.assert_allclose(loss_of(logits, labels, mixed), total, rtol=1e-6)


def test_dice_is_the_one_of_optax_where_that_one_applies():
    """optax counts every class of every chip, and all pixels."""
    logits, labels = drawn(3, ignored=0)
    dice = jax.jit(partial(optax.losses.dice_loss, smooth=1e-6, axis=(0, 1, 2)))
    theirs = dice(logits, one_hot(labels, 3))
    np.testing.assert_allclose(each_of(logits, labels, *even(3))["dice"], theirs, rtol=1e-5)


def test_focal_is_the_one_of_optax_where_that_one_applies():
    logits, labels = drawn(1, ignored=0)
    theirs = jax.jit(optax.losses.sigmoid_focal_loss)(logits[..., 0], labels).mean()
    np.testing.assert_allclose(each_of(logits, labels, *even(2))["focal"], theirs, rtol=1e-5)


def test_focal_without_its_power_is_cross_entropy():
    logits, labels = drawn(3)
    plain = LossSettings(**(NOTHING | {"focal": 1.0, "focal_gamma": 0.0}))
    entropy = each_of(logits, labels, *even(3))["cross_entropy"]
    np.testing.assert_allclose(loss_of(logits, labels, plain), entropy, rtol=1e-5)


def test_focal_takes_weight_from_what_is_easy():
    _, labels = drawn(3)
    sure = 5 * one_hot(labels, 3)
    easy, hard = (each_of(z, labels, *even(3)) for z in (sure, -sure))
    assert easy["focal"] < 0.001 * easy["cross_entropy"]
    assert hard["focal"] > 0.9 * hard["cross_entropy"]


@given(st.integers(0, 199))
def test_lovasz_of_a_hard_map_is_one_minus_its_iou(seed):
    rng = np.random.default_rng(seed)
    mapped, labels = rng.integers(0, 3, (2, *SHAPE)).astype(np.uint8)
    labels[rng.random(SHAPE) < 0.3] = 255
    known = labels != 255
    pairs = [(known & (labels == k), known & (mapped == k)) for k in np.unique(labels[known])]
    each = [1 - (truth & found).sum() / (truth | found).sum() for truth, found in pairs]
    found = each_of(200 * one_hot(mapped, 3), labels, *even(3))["lovasz"]
    np.testing.assert_allclose(found, np.mean(each), atol=1e-6)


def test_lovasz_slopes_add_up_even_for_a_class_of_one_pixel_in_many():
    """All errors equal to e: the extension is e times the loss of a map with nothing right."""
    labels = np.zeros((1, 512, 512), np.uint8)
    labels[0, 3, 4] = 1
    truth = one_hot(labels, 2)
    found = jax.jit(losses.lovasz_losses)(
        np.abs(truth - np.float32(0.25)), truth, np.ones(labels.shape, np.float32)
    )
    np.testing.assert_allclose(found, 0.25, rtol=1e-5)


@given(st.integers(0, 99), st.sampled_from([1, 3]))
def test_what_is_ignored_moves_neither_loss_nor_gradient(seed, outputs):
    logits, labels = drawn(outputs, seed)
    ignored = labels == 255
    noise = np.random.default_rng(seed).normal(0, 5, logits.shape).astype(np.float32)
    noise[ignored & (noise[..., 0] > 5)] = np.nan
    other = np.where(ignored[..., None], logits + noise, logits)
    weights = uneven(max(outputs, 2), seed)
    value, slope = value_and_slope(logits, labels, ALL, *weights)
    changed, changed_slope = value_and_slope(other, labels, ALL, *weights)
    assert value == changed
    np.testing.assert_array_equal(slope, changed_slope)
    assert not np.asarray(slope)[ignored].any()
    assert np.asarray(slope)[~ignored].any()


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_without_labels_gives_zero_and_no_gradient(outputs):
    logits, labels = drawn(outputs, ignored=1.1)
    value, slope = value_and_slope(logits, labels, ALL, *even(max(outputs, 2)))
    assert value == 0
    assert not np.asarray(slope).any()


def test_a_right_and_certain_map_costs_nothing_and_a_wrong_one_the_most():
    _, labels = drawn(3)
    sure = 40 * one_hot(labels, 3)
    right, unsure, wrong = (each_of(z, labels, *even(3)) for z in (sure, 0 * sure, -sure))
    for name in TERMS:
        assert right[name] == pytest.approx(0, abs=5e-5)
        assert wrong[name] > unsure[name] > 0.1


@pytest.mark.parametrize("scale", [0, 50, 1e4, 1e30])
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_are_finite_at_extreme_logits(outputs, scale):
    logits, labels = drawn(outputs)
    for far in (logits, one_hot(labels, outputs), -one_hot(labels, outputs)):
        found = value_and_slope(np.float32(scale) * far, labels, ALL, *even(max(outputs, 2)))
        assert all(np.isfinite(np.asarray(part)).all() for part in found)


def test_the_gradient_is_the_slope_of_the_loss():
    logits, labels = drawn(3)
    step = np.random.default_rng(0).normal(0, 1e-2, logits.shape).astype(np.float32)
    weights = uneven(3)
    slope = value_and_slope(logits, labels, ALL, *weights)[1]
    up, down = (value_and_slope(logits + s * step, labels, ALL, *weights)[0] for s in (1, -1))
    assert float(up - down) / 2 == pytest.approx(float(np.vdot(slope, step)), rel=0.01)


def test_a_loss_of_bf16_logits_is_computed_in_float32():
    logits, labels = drawn(3)
    short = logits.astype(jnp.bfloat16)
    found = loss_of(short, labels, LossSettings())
    assert found.dtype == jnp.float32
    assert found == loss_of(short.astype(np.float32), labels, LossSettings())


def test_a_class_that_the_batch_lacks_does_not_count():
    logits, labels = drawn(3)
    labels[labels == 2] = 255
    for name, found in each_of(logits, labels, *uneven(3)).items():
        value = expected(name, logits, labels, *uneven(3))
        np.testing.assert_allclose(found, value, rtol=1e-5, err_msg=name)


def test_smoothing_puts_the_optimum_at_its_share_not_at_certainty():
    entropy = jax.jit(losses.cross_entropy, static_argnums=3)
    truth, weights = np.float32([[[[0.0, 1.0]]]]), np.ones((1, 1, 1), np.float32)

    def at(share: float):
        return float(entropy(np.log(np.float32([[[[1 - share, share]]]])), truth, weights, 0.1))

    assert min((at(share), share) for share in (0.9, 0.95, 0.99))[1] == 0.95


def test_balanced_weights_make_every_class_weigh_the_same():
    counts = (900, 90, 10, 0)
    weights = losses.class_weights(counts, LossSettings(class_weights="balanced"))
    np.testing.assert_allclose(weights[:3] * counts[:3], 1000 / 3, rtol=1e-6)
    assert weights[3] == 0
    assert np.dot(weights, counts) / sum(counts) == pytest.approx(1)


def test_weights_may_be_given_or_left_out():
    assert losses.class_weights((5, 5), LossSettings()) is None
    given_weights = losses.class_weights((5, 5), LossSettings(class_weights=(1, 3)))
    np.testing.assert_array_equal(given_weights, np.float32([1, 3]))


def test_a_wrong_number_of_weights_is_refused():
    with pytest.raises(SettingsError, match=r"2 weights for 3 classes; give one per class"):
        losses.class_weights((1, 2, 3), LossSettings(class_weights=(1, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (NOTHING, "nothing would be learnt"),
        ({"class_weights": (0, 0)}, "class_weights are all 0"),
        ({"cross_entropy": 0, "label_smoothing": 0.1}, "label_smoothing needs cross_entropy"),
        ({"class_weights": "even"}, "class_weights"),
        ({"focal_tversky_gamma": 0.5}, "greater than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        LossSettings(**settings)
