"""The imported network: its exact reach, and tiled equals whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geounet.card import Architecture, ModelCard, ResNetArchitecture
from geounet.grid import Plan, round_up
from geounet.networks import build, fold, is_folded
from geounet.networks import reach as any_reach
from geounet.predict import Predictor
from geounet.resnet_unet import STRIDE, ResNetUNet, radius, reach
from geounet.unet import UNet
from tests.nets import card_of
from tests.test_seams import assert_seamless, drawn_scene, reader, tiled, whole


def small(**changes):
    fields = {"bands": 2, "outputs": 3, "blocks": (1, 1, 1, 1), "encoder_width": 4}
    return ResNetArchitecture(**{**fields, "decoder": (8, 8, 4, 4, 4), **changes})


def drawn(arch, seed=0):
    """Weights and biases drawn by NumPy: JAX would compile a program for each shape."""
    network = nnx.eval_shape(lambda: ResNetUNet(arch, nnx.Rngs(0)))
    rng = np.random.default_rng(seed)

    def draw(leaf):
        spread = (2 / np.prod(leaf.shape[:-1])) ** 0.5 if len(leaf.shape) > 1 else 0.3
        return jnp.asarray(rng.normal(0, spread, leaf.shape), jnp.float32)

    nnx.update(network, jax.tree.map(draw, nnx.state(network, nnx.Param)))
    network.eval()
    return network


def test_reach_and_radius_are_the_documented_numbers():
    layers18, layers34 = small(blocks=(2, 2, 2, 2)), small(blocks=(3, 4, 6, 3))
    assert [reach(layers18), reach(layers34)] == [281, 513]
    assert [radius(layers18), radius(layers34)] == [311, 543]
    assert round_up(reach(layers18), STRIDE) == 288
    assert any_reach(layers18) == reach(layers18)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 3, 1)])
def test_the_reach_is_what_gradients_show_at_every_phase_of_the_stride(blocks):
    arch = small(bands=1, outputs=1, blocks=blocks, encoder_width=2, decoder=(2,) * 5)
    network = drawn(arch)
    # Positive weights, so that no path is switched off by a ReLU for good.
    nnx.update(network, jax.tree.map(jnp.abs, nnx.state(network, nnx.Param)))
    length = round_up(2 * radius(arch) + 6 * STRIDE, STRIDE)
    centres = (length // 2) // STRIDE * STRIDE + jnp.arange(STRIDE)
    moved = sensitive_rows(network, centres, length)
    farthest, needed = 0, 0
    for phase, rows in enumerate(moved):
        before, after = int(centres[phase]) - rows.min(), rows.max() - int(centres[phase])
        farthest = max(farthest, before, after)
        needed = max(needed, before - phase, after - (STRIDE - 1 - phase))
    assert farthest == radius(arch)
    assert needed == reach(arch)


def sensitive_rows(network, centres, length):
    """For each output row, which input rows move it, by gradient, over several inputs."""
    row_sum = lambda x, row: jnp.take(network(x)[0], row, axis=0).sum()  # noqa: E731

    @jax.jit
    def moved(x):
        slope = lambda row: jnp.abs(jax.grad(row_sum)(x, row)).sum(axis=(0, 2, 3)) > 0  # noqa: E731
        return jax.lax.map(slope, centres)

    found = np.zeros((len(centres), length), bool)
    for seed in range(6):
        found |= np.asarray(moved(jax.random.normal(jax.random.key(seed), (1, length, STRIDE, 1))))
    return [np.flatnonzero(rows) for rows in found]


@pytest.fixture(scope="module")
def predictor():
    arch = small()
    fields = card_of(Architecture(bands=2, outputs=3, depth=1)).model_dump()
    card = ModelCard.model_validate(fields | {"architecture": arch, "reach": reach(arch)})
    return Predictor(drawn(arch), card, (1e-4,) * 2, (0.0,) * 2)


SHAPE = (430, 461)
HALO = round_up(161, STRIDE)


def seam(forward, halo):
    read = reader(*drawn_scene(SHAPE, 5))
    truth = whole(read, forward, SHAPE, STRIDE)
    tiles = Plan(SHAPE, 2 * halo + 2 * STRIDE, halo, STRIDE).tiles
    assert truth.std() > 0.1
    assert_seamless(tiled(read, forward, tiles, SHAPE, 3), truth)


def test_tiled_equals_whole(predictor):
    assert reach(small()) == 161
    seam(predictor.logits, HALO)


def test_a_smaller_halo_shows(predictor):
    with pytest.raises(AssertionError):
        seam(predictor.logits, HALO - 3 * STRIDE)


def test_bfloat16_stays_bfloat16():
    graph, state = nnx.split(drawn(small()))
    x = jax.ShapeDtypeStruct((1, 64, 32, 2), jnp.bfloat16)
    logits = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x)
    assert logits.dtype == jnp.bfloat16
    assert logits.shape == (1, 64, 32, 3)


def test_a_network_is_built_of_either_kind_and_folded_once():
    resnet, plain = small(), Architecture(bands=2, outputs=3, depth=1, base_filters=2)
    imported = nnx.eval_shape(lambda: build(resnet, nnx.Rngs(0)))
    assert isinstance(imported, ResNetUNet)
    assert is_folded(resnet)
    assert fold(imported, resnet) == (imported, resnet)
    assert isinstance(nnx.eval_shape(lambda: build(plain, nnx.Rngs(0))), UNet)
    assert not is_folded(plain)
    assert not is_folded(plain.model_copy(update={"batch_norm": False}))
    assert is_folded(plain.model_copy(update={"batch_norm": False, "dropout": 0.0}))
