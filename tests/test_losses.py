"""Losses against their definitions in NumPy, and the laws that training relies on."""

from __future__ import annotations

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
ALL = LossSettings(**dict.fromkeys(TERMS, 1.0), label_smoothing=0.1)

pytestmark = pytest.mark.usefixtures("strict_numerics")

loss_of = jax.jit(losses.loss_of, static_argnums=2)
value_and_slope = jax.jit(jax.value_and_grad(losses.loss_of), static_argnums=2)


def drawn(outputs: int, seed: int = 0, ignored: float = 0.3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (*SHAPE, outputs)).astype(np.float32)
    labels = rng.integers(0, max(outputs, 2), SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < ignored] = 255
    return jnp.asarray(logits), jnp.asarray(labels)


def weights_of(classes: int, seed: int = 0):
    """Weights of classes and of pixels, none of them equal."""
    rng = np.random.default_rng(seed)
    pair = (rng.uniform(0.5, 2, classes), rng.uniform(0.5, 3, SHAPE))
    return tuple(jnp.asarray(part, jnp.float32) for part in pair)


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


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_probabilities_of_all_classes_sum_to_one(outputs):
    logits, _ = drawn(outputs)
    shares = jnp.exp(losses.log_probabilities(logits))
    assert shares.shape == (*SHAPE, max(outputs, 2))
    np.testing.assert_allclose(shares, shares_of(logits), rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", TERMS)
def test_each_loss_is_its_definition(name, outputs):
    for seed in range(3):
        logits, labels = drawn(outputs, seed)
        even = (np.ones(max(outputs, 2)), np.ones(SHAPE))
        found = loss_of(logits, labels, ALONE[name])
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected(name, logits, labels, *even), rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", TERMS)
def test_each_loss_weighs_classes_and_pixels(name, outputs):
    logits, labels = drawn(outputs)
    weights = weights_of(max(outputs, 2))
    found = loss_of(logits, labels, ALONE[name], *weights)
    np.testing.assert_allclose(found, expected(name, logits, labels, *weights), rtol=1e-5)
    twice = loss_of(logits, labels, ALONE[name], *(2 * part for part in weights))
    np.testing.assert_allclose(twice, found, rtol=1e-5)


def test_a_pixel_of_weight_two_counts_as_two_pixels():
    logits, labels = drawn(3)
    double = jnp.ones(SHAPE, jnp.float32).at[0].set(2)
    repeated = (jnp.concatenate([part, part[:1]]) for part in (logits, labels))
    np.testing.assert_allclose(
        loss_of(logits, labels, ALL, None, double), loss_of(*repeated, ALL), rtol=1e-5
    )


def test_the_losses_are_added_with_their_weights():
    logits, labels = drawn(3)
    mixed = LossSettings(cross_entropy=0.5, dice=2, lovasz=3)
    parts = {name: loss_of(logits, labels, ALONE[name]) for name in TERMS}
    total = 0.5 * parts["cross_entropy"] + 2 * parts["dice"] + 3 * parts["lovasz"]
    np.testing.assert_allclose(loss_of(logits, labels, mixed), total, rtol=1e-6)


def test_dice_is_the_one_of_optax_where_that_one_applies():
    """optax counts every class of every chip, and all pixels."""
    logits, labels = drawn(3, ignored=0)
    truth = jax.nn.one_hot(labels, 3, dtype=jnp.float32)
    theirs = optax.losses.dice_loss(logits, truth, smooth=1e-6, axis=(0, 1, 2))
    np.testing.assert_allclose(loss_of(logits, labels, ALONE["dice"]), theirs, rtol=1e-5)


def test_focal_is_the_one_of_optax_where_that_one_applies():
    logits, labels = drawn(1, ignored=0)
    theirs = optax.losses.sigmoid_focal_loss(logits[..., 0], labels).mean()
    np.testing.assert_allclose(loss_of(logits, labels, ALONE["focal"]), theirs, rtol=1e-5)


def test_focal_without_its_power_is_cross_entropy_and_takes_weight_from_what_is_easy():
    logits, labels = drawn(3)
    plain = LossSettings(**(NOTHING | {"focal": 1.0, "focal_gamma": 0.0}))
    entropy = loss_of(logits, labels, ALONE["cross_entropy"])
    np.testing.assert_allclose(loss_of(logits, labels, plain), entropy, rtol=1e-5)
    sure = 5 * jax.nn.one_hot(labels, 3, dtype=jnp.float32)
    ratios = [
        loss_of(z, labels, ALONE["focal"]) / loss_of(z, labels, ALONE["cross_entropy"])
        for z in (sure, -sure)
    ]
    assert ratios[0] < 0.001
    assert ratios[1] > 0.9


@given(st.integers(0, 199), st.sampled_from([2, 3]))
def test_lovasz_of_a_hard_map_is_one_minus_its_iou(seed, classes):
    rng = np.random.default_rng(seed)
    mapped, labels = rng.integers(0, classes, (2, *SHAPE)).astype(np.uint8)
    labels[rng.random(SHAPE) < 0.3] = 255
    hard = 200 * jax.nn.one_hot(mapped, classes, dtype=jnp.float32)
    known = labels != 255
    pairs = [(known & (labels == k), known & (mapped == k)) for k in np.unique(labels[known])]
    each = [1 - (truth & found).sum() / (truth | found).sum() for truth, found in pairs]
    found = loss_of(hard, jnp.asarray(labels), ALONE["lovasz"])
    np.testing.assert_allclose(found, np.mean(each), atol=1e-6)


def test_lovasz_slopes_add_up_even_for_a_class_of_one_pixel_in_many():
    """All errors equal to e: the extension is e times the loss of a map with nothing right."""
    labels = jnp.zeros((1, 512, 512), jnp.uint8).at[0, 3, 4].set(1)
    truth = jax.nn.one_hot(labels, 2, dtype=jnp.float32)
    shares = jnp.abs(truth - 0.25)
    weights = jnp.ones(labels.shape, jnp.float32)
    np.testing.assert_allclose(losses.lovasz_losses(shares, truth, weights), 0.25, rtol=1e-5)


@given(st.integers(0, 99), st.sampled_from([1, 3]))
def test_what_is_ignored_moves_neither_loss_nor_gradient(seed, outputs):
    logits, labels = drawn(outputs, seed)
    ignored = np.asarray(labels) == 255
    noise = np.random.default_rng(seed).normal(0, 5, logits.shape).astype(np.float32)
    noise[ignored & (noise[..., 0] > 5)] = np.nan
    other = jnp.where(ignored[..., None], logits + noise, logits)
    weights = weights_of(max(outputs, 2), seed)
    value, slope = value_and_slope(logits, labels, ALL, *weights)
    changed, changed_slope = value_and_slope(other, labels, ALL, *weights)
    assert value == changed
    np.testing.assert_array_equal(slope, changed_slope)
    assert not np.asarray(slope)[ignored].any()
    assert np.asarray(slope)[~ignored].any()


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_without_labels_gives_zero_and_no_gradient(outputs):
    logits, labels = drawn(outputs, ignored=1.1)
    value, slope = value_and_slope(logits, labels, ALL)
    assert value == 0
    assert not np.asarray(slope).any()


@pytest.mark.parametrize("name", TERMS)
def test_a_right_and_certain_map_costs_nothing_and_a_wrong_one_the_most(name):
    _, labels = drawn(3)
    right = 40 * jax.nn.one_hot(labels, 3, dtype=jnp.float32)
    assert loss_of(right, labels, ALONE[name]) == pytest.approx(0, abs=5e-5)
    wrong = loss_of(-right, labels, ALONE[name])
    assert wrong > loss_of(jnp.zeros_like(right), labels, ALONE[name]) > 0.1


@pytest.mark.parametrize("scale", [0, 50, 1e4, 1e30])
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_are_finite_at_extreme_logits(outputs, scale):
    logits, labels = drawn(outputs)
    for extreme in (scale * logits, scale * jax.nn.one_hot(labels, outputs, dtype=jnp.float32)):
        settings = ALL.model_copy(update={"focal_gamma": 0.5})
        value, slope = value_and_slope(extreme, labels, settings)
        assert np.isfinite(value)
        assert np.isfinite(np.asarray(slope)).all()


def test_each_gradient_is_the_slope_of_its_loss():
    logits, labels = drawn(3)
    step = 1e-2 * jax.random.normal(jax.random.key(0), logits.shape)
    for name, settings in ALONE.items():
        _, slope = value_and_slope(logits, labels, settings)
        up, down = (loss_of(logits + s * step, labels, settings) for s in (1, -1))
        assert (up - down) / 2 == pytest.approx(float((slope * step).sum()), rel=0.02), name


def test_a_loss_of_bf16_logits_is_computed_in_float32():
    logits, labels = drawn(3)
    short = logits.astype(jnp.bfloat16)
    found = loss_of(short, labels, ALL)
    assert found.dtype == jnp.float32
    assert found == loss_of(short.astype(jnp.float32), labels, ALL)


@pytest.mark.parametrize("name", ["dice", "tversky", "focal_tversky", "lovasz"])
def test_a_class_that_the_batch_lacks_does_not_count(name):
    logits, labels = drawn(3)
    without = jnp.where(labels == 2, jnp.uint8(255), labels)
    even = (np.ones(3), np.ones(SHAPE))
    found = loss_of(logits, without, ALONE[name])
    np.testing.assert_allclose(found, expected(name, logits, without, *even), rtol=1e-5)


def test_smoothing_puts_the_optimum_at_its_share_not_at_certainty():
    truth, weights = jnp.asarray([[[[0.0, 1.0]]]], jnp.float32), jnp.ones((1, 1, 1), jnp.float32)

    def at(share: float):
        scores = jnp.log(jnp.asarray([[[[1 - share, share]]]], jnp.float32))
        return float(losses.cross_entropy(scores, truth, weights, 0.1))

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
