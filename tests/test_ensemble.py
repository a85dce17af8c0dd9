"""Several networks as one: the mean of what each says, each learning as if it were alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geounet.ensemble import Ensemble
from geounet.learn.learner import key_of, network_of, start, take_step
from geounet.learn.train_settings import TrainSettings
from geounet.model_file import load_model, save_model
from geounet.networks import build, drawn, each, fold, reach
from tests.made_source import chips, settings_of
from tests.nets import architecture, card_of
from tests.test_learner import CONSTANTS, PLAIN, Batch

NETWORK = {**PLAIN, "batch_norm": True}


@pytest.fixture(scope="module")
def three():
    arch = architecture(depth=1, bands=2).model_copy(update={"members": 3, "batch_norm": True})
    network = drawn(arch, nnx.Rngs(3))
    network.eval()
    return network, arch


def images(side=16, bands=2):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, side, side, bands)), jnp.float32)


def test_it_says_the_mean_of_what_its_members_say(three):
    network, _ = three
    said = each(network, images())
    assert len(said) == 3
    assert not any(np.allclose(said[0], other) for other in said[1:])
    np.testing.assert_allclose(network(images()), np.mean(said, axis=0), atol=1e-6)


def test_folded_and_saved_it_is_the_same_function(three, tmp_path):
    network, arch = three
    plain, without = fold(network, arch)
    assert isinstance(plain, Ensemble)
    assert (without.members, without.batch_norm) == (3, False)
    np.testing.assert_allclose(plain(images()), network(images()), atol=1e-5)
    card = card_of(arch)
    saved = save_model(tmp_path / "three.safetensors", network, card, "float32")
    assert saved.reach == reach(arch) == reach(arch.model_copy(update={"members": 1}))
    found = load_model(tmp_path / "three.safetensors")
    np.testing.assert_array_equal(found.network(images()), plain(images()))


def test_one_member_is_a_plain_network_whose_card_has_no_new_field():
    arch = architecture(depth=1, bands=2)
    assert not isinstance(build(arch, nnx.Rngs(0)), Ensemble)
    assert "members" not in arch.model_dump_json()


def alone(recipe, learner, k):
    """Member ``k`` of an ensemble's learner, as a learner of its own."""
    members = nnx.merge(recipe.graph, learner.weights, learner.running, learner.other).members
    graph, *parts = nnx.split(members[k], nnx.Param, nnx.BatchStat, ...)
    return graph, *(jax.tree.map(jnp.copy, part) for part in parts)


@pytest.mark.parametrize("kind", ["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def test_each_member_learns_as_if_it_were_alone(kind):
    optimiser = {"kind": kind, "learning_rate": 0.01}
    s = settings_of(network={**NETWORK, "members": 2}, optimiser=optimiser, augment={})
    one: TrainSettings = settings_of(network=NETWORK, optimiser=optimiser, augment={})
    recipe, learner = start(s, 4)
    single, own = start(one, 4)
    graph, *parts = alone(recipe, learner, 1)
    weights, running, other = parts
    single = replace(single, graph=graph)
    own = own._replace(
        weights=weights,
        running=running,
        other=other,
        optimiser=single.update.init(weights),
        averaged=jax.tree.map(jnp.copy, (weights, running)),
    )
    for i in range(3):
        batch = Batch(*chips(i, 4))
        learner, outcome = take_step(recipe, learner, key_of(0, 0, i), CONSTANTS, batch)
        own, _ = take_step(single, own, key_of(0, 0, i), CONSTANTS, batch)
        assert np.isfinite(float(outcome.loss))
    member = network_of(recipe, learner).members[1]
    expected = network_of(single, own)
    for found, wanted in zip(
        jax.tree.leaves(nnx.state(member, nnx.Param)),
        jax.tree.leaves(nnx.state(expected, nnx.Param)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
