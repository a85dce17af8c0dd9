"""The parts of a network: equal to PyTorch's, written from the papers alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn import functional as f

from geounet.blocks import (
    AttentionGate,
    Depthwise,
    DilatedBottleneck,
    InvertedBottleneckBlock,
    MBConv,
    ResidualBlock,
    _depthwise,
)
from geounet.learn.network_settings import NetworkSettings
from tests.nets import architecture

ARCHITECTURE = architecture()
RNGS = nnx.Rngs(3)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def filled(layer, seed=1):
    """With biases that are not zero."""
    rng = np.random.default_rng(seed)
    state = nnx.state(layer, nnx.Param)
    drawn = jax.tree.map(
        lambda x: x if x.ndim > 1 else np.float32(rng.normal(0, 0.5, x.shape)), state
    )
    nnx.update(layer, drawn)
    return layer


def conv(x, layer, groups=1):
    kernel = torch.from_numpy(np.array(layer.kernel[...])).permute(3, 2, 0, 1)
    bias = torch.from_numpy(np.array(layer.bias[...]))
    dilation = getattr(layer, "dilation", 1)
    padding = kernel.shape[-1] // 2 * dilation
    return f.conv2d(x, kernel, bias, padding=padding, dilation=dilation, groups=groups)


def assert_equal(layer, oracle, *inputs):
    """``oracle`` takes and gives (tile, band, row, col)."""
    expected = oracle(*(torch.from_numpy(x).permute(0, 3, 1, 2) for x in inputs))
    found = nnx.jit(lambda layer, *inputs: layer(*inputs))(layer, *map(jnp.asarray, inputs))
    assert found.std() > 0.1
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_a_depthwise_convolution_is_a_grouped_one(strict_numerics):
    layer = filled(Depthwise(5, norm=False, rngs=RNGS))
    assert_equal(layer, lambda x: conv(x, layer, groups=5), drawn(2, 7, 4, 5))


def test_the_gradient_of_a_depthwise_convolution_is_a_grouped_ones(strict_numerics):
    layer, x, slope = Depthwise(5, norm=False, rngs=RNGS), drawn(2, 7, 4, 5), drawn(2, 7, 4, 5)
    torch_x, weight = (
        torch.from_numpy(a).permute(*order).contiguous().requires_grad_()
        for a, order in ((x, (0, 3, 1, 2)), (np.array(layer.kernel[...]), (3, 2, 0, 1)))
    )
    f.conv2d(torch_x, weight, padding=1, groups=5).backward(
        torch.from_numpy(slope).permute(0, 3, 1, 2)
    )
    _, pull = jax.vjp(_depthwise, jnp.asarray(x), layer.kernel[...])
    to_x, to_kernel = pull(jnp.asarray(slope))
    np.testing.assert_allclose(to_x, torch_x.grad.permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(to_kernel, weight.grad.permute(2, 3, 1, 0), atol=1e-4)


def residual(x, block):
    y = conv(f.relu(conv(x, block.conv1)), block.conv2)
    return f.relu(y + (conv(x, block.projection) if block.projection else x))


def test_a_residual_block_is_he_and_others(strict_numerics):
    same = filled(ResidualBlock(4, 4, ARCHITECTURE, 0.0, rngs=RNGS))
    assert same.projection is None
    assert_equal(same, lambda x: residual(x, same), drawn(2, 6, 8, 4))
    wider = filled(ResidualBlock(6, 4, ARCHITECTURE, 0.0, rngs=RNGS))
    both = drawn(2, 6, 8, 2), drawn(2, 6, 8, 4, seed=1)
    assert_equal(wider, lambda *x: residual(torch.cat(x, dim=1), wider), *both)


def mbconv(x, block):
    wide = f.silu(conv(x, block.expand))
    y = conv(f.silu(conv(wide, block.depthwise, groups=wide.shape[1])), block.project)
    return x + y if y.shape == x.shape else y


def test_an_inverted_bottleneck_is_sandlers_and_others(strict_numerics):
    block = filled(InvertedBottleneckBlock(5, 3, ARCHITECTURE, 0.0, rngs=RNGS))
    assert (block.first.shortcut, block.second.shortcut) == (False, True)
    both = drawn(2, 6, 8, 2), drawn(2, 6, 8, 3, seed=1)
    oracle = lambda *x: mbconv(mbconv(torch.cat(x, dim=1), block.first), block.second)  # noqa: E731
    assert_equal(block, oracle, *both)


@pytest.mark.parametrize("expansion", [1, 6])
def test_the_expansion_is_how_much_it_widens(expansion):
    block = MBConv(5, 3, architecture(expansion=expansion), rngs=RNGS)
    assert block.depthwise.kernel.shape == (3, 3, 1, 3 * expansion)


def test_memory_is_planned_for_what_it_widens_to():
    assert architecture(base_filters=16, block="inverted_bottleneck", expansion=6).width == 96
    assert architecture(base_filters=16, block="residual", expansion=6).width == 16


def gate(x, g, block):
    signal = f.interpolate(conv(g, block.signal), scale_factor=2, mode="nearest")
    return x * torch.sigmoid(conv(f.relu(conv(x, block.skip) + signal), block.psi))


def test_an_attention_gate_is_oktays_and_others_upsampled_by_nearest(strict_numerics):
    block = filled(AttentionGate(4, rngs=RNGS))
    assert_equal(block, lambda x, g: gate(x, g, block), drawn(2, 6, 8, 4), drawn(2, 3, 4, 8))


def test_a_gate_begins_nearly_open():
    x, g = jnp.ones((1, 4, 4, 4)), jnp.ones((1, 2, 2, 8))
    block = AttentionGate(4, rngs=RNGS)
    block.psi.kernel[...] = jnp.zeros(block.psi.kernel.shape)
    np.testing.assert_allclose(block(x, g), 0.9526, atol=1e-4)


def test_a_pixel_of_the_signal_gates_its_own_2_by_2_pixels_alone():
    """Interpolation would reach further, and the network's reach would be wrong."""
    block = AttentionGate(4, rngs=RNGS)
    # Positive weights, so that no ReLU hides the change, and small, so that no sigmoid does.
    nnx.update(block, jax.tree.map(lambda w: 0.1 * jnp.abs(w), nnx.state(block, nnx.Param)))
    x, g = jnp.ones((1, 6, 8, 4)), jnp.ones((1, 3, 4, 8))
    moved = g.at[0, 1, 2].add(3)
    differs = np.asarray(block(x, g) != block(x, moved))[0].any(axis=-1)
    np.testing.assert_array_equal(np.argwhere(differs), [[2, 4], [2, 5], [3, 4], [3, 5]])


def cascade(x, block):
    total = x
    for layer in block.convs:
        x = f.relu(conv(x, layer))
        total = total + x
    return total


def test_a_dilated_bottleneck_is_d_linknets(strict_numerics):
    block = filled(DilatedBottleneck(4, architecture(dilations=(1, 2, 4)), rngs=RNGS))
    assert_equal(block, lambda x: cascade(x, block), drawn(2, 9, 12, 4))


def test_dropout_between_the_convolutions_acts_in_training_only():
    for kind in (ResidualBlock, InvertedBottleneckBlock):
        block, x = kind(4, 4, ARCHITECTURE, 0.5, rngs=nnx.Rngs(0)), jnp.asarray(drawn(1, 4, 4, 4))
        block.train()
        assert (block(x) != block(x)).any()
        block.eval()
        assert (block(x) == block(x)).all()


def test_the_settings_of_a_network_are_its_architecture():
    settings = NetworkSettings(
        depth=3,
        base_filters=8,
        block="residual",
        attention=True,
        dilations=(2, 4),
        members=3,
        remat=True,
    )
    assert settings.architecture(bands=6, outputs=1).model_dump() == {
        "kind": "unet", "bands": 6, "outputs": 1, "depth": 3, "base_filters": 8,
        "batch_norm": True, "dropout": 0.1, "block": "residual", "attention": True,
        "dilations": (2, 4), "members": 3,
    }  # fmt: skip
    assert NetworkSettings().model_dump() == {
        "depth": 4, "base_filters": 64, "batch_norm": True, "dropout": 0.1, "block": "plain",
        "expansion": 4, "attention": False, "dilations": (), "members": 1, "remat": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 6}, {"base_filters": 257}, {"dropout": 1.0}, {"block": "dense"},
        {"expansion": 0}, {"dilations": (9,)}, {"dilations": (1,) * 5},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_network_can_be_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        NetworkSettings(**fields)
