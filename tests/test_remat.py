"""Rematerialisation changes memory, and no number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geounet.learn.augment_settings import AugmentSettings
from geounet.learn.learner import Batch, Constants, Scaling, key_of, start, take_step
from geounet.learn.remat import step_of
from tests.made_source import settings_of
from tests.nets import EVERYTHING, OPTIONS, name_of

SIDE = 64
CONSTANTS = Constants(Scaling(jnp.zeros(2), jnp.ones(2)))


def after_a_step(options, remat):
    """What a step made of its learner, its outcome, and the bytes of its scratch memory."""
    network = {"depth": 1, "base_filters": 2, "dropout": 0.2, "remat": remat, **options}
    # Not Adam: it divides a gradient by its size, so rounding alone would move some weights.
    sgd = {"kind": "sgd", "learning_rate": 0.1, "warmup_epochs": 0, "schedule": "constant"}
    augment = AugmentSettings(symmetries=False)
    settings = settings_of(network=network, chip=SIDE, augment=augment, optimiser=sgd)
    recipe, learner = start(settings, steps=5)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(4, SIDE, SIDE, 2)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 2, (4, SIDE, SIDE)), jnp.uint8)
    arguments = (recipe, learner, key_of(0, 0, 0), CONSTANTS, Batch(images, labels))
    compiled = step_of(remat).lower(*arguments).compile()
    memory = compiled.memory_analysis().temp_size_in_bytes
    return *compiled(*arguments[1:]), memory


@pytest.mark.parametrize(
    "options",
    [OPTIONS[0], pytest.param(EVERYTHING[-1], marks=pytest.mark.slow)],
    ids=name_of,
)
def test_rematerialisation_changes_memory_and_no_number(options):
    learner, outcome, memory = after_a_step(options, remat=False)
    again, repeated, less = after_a_step(options, remat=True)
    assert less < 0.8 * memory
    assert float(repeated.loss) == pytest.approx(float(outcome.loss), rel=1e-6)
    for name in ("weights", "running"):
        found, expected = (jax.tree.leaves(getattr(x, name)) for x in (again, learner))
        assert expected
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_without_it_the_step_is_the_usual_one():
    assert step_of(False) is take_step
