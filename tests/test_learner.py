"""The compiled step: what an update is made of, and what holds for each way of making it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from pydantic import ValidationError

from geounet.errors import SettingsError
from geounet.learn import devices
from geounet.learn.learner import (
    Batch,
    Constants,
    Scaling,
    key_of,
    network_of,
    start,
    take_step,
)
from geounet.learn.optimiser import (
    has_updated,
    lengths_of,
    plateau_after,
    plateau_start,
    rate_after,
    schedule_of,
    update_of,
)
from geounet.learn.optimiser_settings import OptimiserSettings
from tests.made_source import chips, settings_of

CONSTANTS = Constants(Scaling(jnp.zeros(2), jnp.ones(2)))
PLAIN = {"depth": 1, "base_filters": 2, "batch_norm": False, "dropout": 0.0}


def rates(o, steps=10, epochs=4):
    lengths = lengths_of(o, steps, epochs)
    return [float(schedule_of(o, lengths)(i)) for i in range(lengths.total + 1)]


def test_the_rate_warms_up_and_then_follows_half_a_cosine():
    o = OptimiserSettings(learning_rate=0.1, warmup_epochs=1, final_rate=0.01)
    found = rates(o)
    assert found[0] == pytest.approx(0.01)
    assert found[10] == pytest.approx(0.1)
    assert found[25] == pytest.approx((0.1 + 0.001) / 2)
    assert found[-1] == pytest.approx(0.001)


def test_a_constant_rate_warms_up_too():
    o = OptimiserSettings(learning_rate=0.1, warmup_epochs=0.5, schedule="constant")
    found = rates(o)
    assert found[0] == pytest.approx(0.01)
    assert found[5:] == pytest.approx([0.1] * 36)
    assert found[:5] == sorted(found[:5])


def test_accumulation_shortens_the_schedule_and_never_to_nothing():
    o = OptimiserSettings(accumulate=4, warmup_epochs=2)
    assert lengths_of(o, steps=10, epochs=4) == (5, 10)
    assert lengths_of(o, steps=1, epochs=1) == (0, 1)


def test_the_rate_falls_where_the_score_no_longer_does():
    plateau = {"factor": 0.5, "patience": 2, "least": 0.2}
    o = OptimiserSettings(learning_rate=0.1, warmup_epochs=0, schedule="plateau", plateau=plateau)
    state, found = plateau_start(o), []
    for score in [1.0, 0.8, 0.9, 0.8, 0.85, 0.81, 0.7, 0.7, 0.7, 0.7]:
        state = plateau_after(o, state, score)
        found.append(rate_after(o, lengths_of(o, 1, 10), 5, state.scale))
    steps = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]
    assert found == pytest.approx([0.1 * s for s in steps])


def test_other_schedules_know_no_plateau():
    o = OptimiserSettings(schedule="constant")
    state = plateau_start(o)
    for _ in range(20):
        state = plateau_after(o, state, 1.0)
    assert float(state.scale) == 1.0


WEIGHTS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
SLOPES = {"kernel": jnp.full((2, 2), 0.3), "bias": jnp.full(2, -0.1)}


def moved(slopes=SLOPES, **fields):
    """The first update at a rate of 0.1."""
    o = OptimiserSettings(learning_rate=0.1, warmup_epochs=0, schedule="constant", **fields)
    update = update_of(o, lengths_of(o, 10, 4))
    found, _ = update.update(slopes, update.init(WEIGHTS), WEIGHTS)
    return {name: np.asarray(value).ravel()[0] for name, value in found.items()}


def test_adam_moves_by_the_rate_and_adamw_pulls_kernels_alone_towards_zero():
    adam = moved(kind="adam", weight_decay=0.5)
    adamw = moved(kind="adamw", weight_decay=0.5)
    assert adam == pytest.approx({"kernel": -0.1, "bias": 0.1}, rel=1e-3)
    assert adamw == pytest.approx({"kernel": -0.1 - 0.1 * 0.5, "bias": 0.1}, rel=1e-3)


def test_sgd_follows_the_slope_with_momentum():
    o = OptimiserSettings(
        kind="sgd", momentum=0.8, learning_rate=0.1, warmup_epochs=0, schedule="constant",
        clip_norm=None,
    )  # fmt: skip
    update = update_of(o, lengths_of(o, 10, 4))
    oracle = optax.sgd(0.1, momentum=0.8)
    ours, theirs = update.init(WEIGHTS), oracle.init(WEIGHTS)
    for _ in range(3):
        found, ours = update.update(SLOPES, ours, WEIGHTS)
        expected, theirs = oracle.update(SLOPES, theirs, WEIGHTS)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_a_long_gradient_is_cut_to_the_norm_and_a_short_one_is_left():
    slopes = {"kernel": jnp.full((2, 2), 30.0), "bias": jnp.zeros(2)}
    assert moved(slopes, kind="sgd", clip_norm=1.0)["kernel"] == pytest.approx(-0.1 * 0.5)
    assert moved(slopes, kind="sgd", clip_norm=None)["kernel"] == pytest.approx(-0.1 * 30)
    assert moved(SLOPES, kind="sgd", clip_norm=1.0)["kernel"] == pytest.approx(-0.1 * 0.3)


@pytest.mark.parametrize(
    "fields",
    [{"clip_norm": 0}, {"learning_rate": 0}, {"accumulate": 0}, {"ema": 1}, {"schedule": "step"}],
)
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        OptimiserSettings(**fields)


def steps_of(settings, batches):
    """The learner after some batches, with what each came to."""
    recipe, learner = start(settings, steps=5)
    outcomes = []
    for i, batch in enumerate(batches):
        learner, outcome = take_step(recipe, learner, key_of(0, 0, i), CONSTANTS, batch)
        outcomes.append(jax.device_get(outcome))
    return recipe, learner, outcomes


def made(seed, count=4):
    images, labels = chips(seed, count)
    return Batch(jnp.asarray(images), jnp.asarray(labels))


def plain(**optimiser):
    shared = {"warmup_epochs": 0, "schedule": "constant", "learning_rate": 0.1, "kind": "sgd"}
    return settings_of(
        network=PLAIN,
        augment={"symmetries": False},
        loss={"dice": 0},
        optimiser=shared | {"clip_norm": 0.05} | optimiser,
    )


def test_accumulated_batches_are_one_larger_batch():
    """Where the loss is a mean over equally many pixels and nothing looks at the whole batch."""
    whole = [made(seed) for seed in range(3)]
    halves = [
        jax.tree.map(lambda part, cut=cut: part[cut], batch)
        for batch in whole
        for cut in (slice(0, 2), slice(2, 4))
    ]
    _, one, _ = steps_of(plain(ema=0.5), whole)
    _, two, _ = steps_of(plain(ema=0.5, accumulate=2), halves)
    assert int(one.updates) == int(two.updates) == 3
    for name in ("weights", "averaged"):
        pairs = zip(*(jax.tree.leaves(getattr(x, name)) for x in (one, two)), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)
    start_weights = start(plain(), 5)[1].weights
    moved_by = optax.tree.norm(jax.tree.map(jnp.subtract, one.weights, start_weights))
    assert moved_by > 0.01


def test_nothing_moves_before_the_last_of_the_accumulated_batches():
    settings = plain(ema=0.5, accumulate=2)
    _, before = start(settings, 5)
    held = jax.tree.map(np.asarray, (before.weights, before.averaged))
    _, after, _ = steps_of(settings, [made(0, 2)])
    jax.tree.map(np.testing.assert_array_equal, (after.weights, after.averaged), held)
    assert int(after.updates) == 0
    assert not has_updated(after.optimiser)


def test_a_batch_that_is_not_finite_leaves_every_leaf_as_it_was():
    settings = settings_of()
    good, bad = made(1), made(2)
    bad = bad._replace(images=bad.images.at[1, 4, 4].set(3e38))
    recipe, once, _ = steps_of(settings, [good] * 3)
    held = [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(once)]
    after, outcome = take_step(recipe, once, key_of(0, 0, 3), CONSTANTS, bad)
    assert not outcome.finite
    for new, old in zip(jax.tree.leaves(after), held, strict=True):
        np.testing.assert_array_equal(jax.random.key_data(new) if is_key(new) else new, old)


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def test_the_average_follows_the_weights_and_the_statistics():
    recipe, learner, _ = steps_of(settings_of(), [made(seed) for seed in range(3)])
    _, first, _ = steps_of(settings_of(), [made(seed) for seed in range(2)])
    decay = min(0.9, (3 - 1) / (3 + 9))
    pairs = (first.averaged, (learner.weights, learner.running), learner.averaged)
    for old, new, found in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(found, decay * old + (1 - decay) * new, rtol=1e-5, atol=1e-7)
    shipped = network_of(recipe, learner)
    kept = jax.tree.leaves(nnx.state(shipped, nnx.Param))
    for a, b in zip(kept, jax.tree.leaves(learner.averaged[0]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bf16_computes_coarsely_and_keeps_its_state_in_float32():
    batches = [made(seed) for seed in range(3)]
    _, exact, outcomes = steps_of(settings_of(), batches)
    _, coarse, rounded = steps_of(settings_of(precision="bf16"), batches)
    assert jax.tree.map(lambda x: x.dtype, coarse) == jax.tree.map(lambda x: x.dtype, exact)
    for part in (coarse.weights, coarse.running, coarse.averaged):
        assert {leaf.dtype for leaf in jax.tree.leaves(part)} == {jnp.dtype("float32")}
    a, b = ([o.loss for o in found] for found in (outcomes, rounded))
    np.testing.assert_allclose(a, b, rtol=0.03)
    assert a != b


def test_weights_of_pixels_and_classes_reach_the_loss():
    settings = plain()
    images, labels, _ = made(0)
    recipe, _ = start(settings, 5)

    def loss(constants, batch):
        learner = start(settings, 5)[1]
        return float(take_step(recipe, learner, key_of(0, 0, 0), constants, batch)[1].loss)

    plain_loss = loss(CONSTANTS, Batch(images, labels))
    ones = loss(CONSTANTS, Batch(images, labels, jnp.ones(labels.shape)))
    left = jnp.zeros(labels.shape).at[:, :, :8].set(1)
    blind = jnp.where(left > 0, labels, jnp.uint8(255))
    assert ones == pytest.approx(plain_loss, rel=1e-5)
    assert loss(CONSTANTS, Batch(images, labels, left)) == pytest.approx(
        loss(CONSTANTS, Batch(images, blind)), rel=1e-5
    )
    heavy = CONSTANTS._replace(class_weights=jnp.array([1.0, 0.0]))
    only_first = jnp.where(labels == 1, jnp.uint8(255), labels)
    assert loss(heavy, Batch(images, labels)) == pytest.approx(
        loss(CONSTANTS, Batch(images, only_first)), rel=1e-5
    )


def test_a_batch_that_the_devices_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(devices.jax, "local_devices", lambda: [None] * 3)
    with pytest.raises(SettingsError, match="batch 16 cannot be shared evenly by 3 devices; the"):
        devices.local_devices(16)


def test_one_device_takes_all():
    found = devices.local_devices(5)
    assert found.count == 1
    assert isinstance(found.spread, NamedSharding)
    assert found.divide(np.zeros((5, 2))).shape == (5, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_devices_give_what_one_gives(tmp_path):
    """In a process of its own, as devices are simulated from the start or not at all."""
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.parallel_run", str(tmp_path)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, eight = (dict(np.load(tmp_path / f"{count}.npz")) for count in (1, 8))
    assert one.keys() == eight.keys()
    for name, value in one.items():
        difference = np.linalg.norm(value - eight[name]) / max(np.linalg.norm(value), 1e-3)
        assert difference < 1e-5, name


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize(
    "network",
    [
        {"block": "plain", "attention": True},
        {"block": "residual", "dilations": [2]},
        {"block": "inverted_bottleneck"},
    ],
    ids=lambda network: network["block"],
)
def test_a_step_gives_back_the_types_that_it_takes(network, kind):
    """Or the second step would be compiled anew: a weak type is another type."""
    settings = settings_of(network=PLAIN | {"batch_norm": True} | network, optimiser={"kind": kind})
    recipe, learner = start(settings, 5)
    given = (learner, key_of(0, 0, 0), CONSTANTS, made(0, 2))
    after, _ = take_step.eval_shape(recipe, *given)
    before = jax.tree.map(jax.typeof, learner)
    differ = [
        (jax.tree_util.keystr(path), old, new)
        for (path, new), old in zip(
            jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(before), strict=True
        )
        if (old.shape, old.dtype, old.weak_type) != (new.shape, new.dtype, new.weak_type)
    ]
    assert not differ
