"""The network: the paper's shape, its exact reach, its folding, and equality with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from geounet.unet import UNet, fold, radius, reach
from tests.nets import (
    EVERYTHING,
    OPTIONS,
    architecture,
    name_of,
    net_with_statistics,
    random_net,
)
from tests.torch_unet import TorchUNet

forward = nnx.jit(lambda network, x: network(x))


def parameter_count(arch):
    abstract = nnx.eval_shape(lambda: UNet(arch, nnx.Rngs(0)))
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(nnx.state(abstract, nnx.Param)))


def counted_from_the_paper(bands, outputs, base, depth):
    """Figure 1 of Ronneberger et al. 2015, layer by layer, each with a bias."""
    conv = lambda a, b, side: side * side * a * b + b  # noqa: E731
    widths = [base * 2**k for k in range(depth + 1)]
    down = sum(
        conv(a, b, 3) + conv(b, b, 3) for a, b in zip([bands, *widths], widths, strict=False)
    )
    up = sum(conv(2 * b, b, 2) + conv(2 * b, b, 3) + conv(b, b, 3) for b in widths[:-1])
    return down + up + conv(base, outputs, 1)


def test_the_papers_network_has_its_31_million_parameters():
    arch = architecture(depth=4, base_filters=64, bands=1, outputs=2)
    assert parameter_count(arch) == 31_030_658 == counted_from_the_paper(1, 2, 64, 4)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_parameters_follow_the_papers_figure_at_every_depth(depth):
    arch = architecture(depth=depth, base_filters=4, bands=6, outputs=3)
    assert parameter_count(arch) == counted_from_the_paper(6, 3, 4, depth)


def oracle(network, x):
    with torch.no_grad():
        logits = TorchUNet(network)(torch.from_numpy(x).permute(0, 3, 1, 2))
    return logits.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    ("depth", "base", "bands", "outputs"),
    [(1, 4, 1, 1), (2, 8, 3, 2), (3, 8, 6, 5), (4, 16, 6, 1), (5, 4, 2, 3)],
)
def test_logits_equal_pytorchs_with_the_same_weights(depth, base, bands, outputs):
    network = random_net(architecture(depth, base, bands, outputs), seed=depth)
    side = 2**depth
    x = np.random.default_rng(depth).normal(size=(2, 5 * side, 3 * side, bands))
    x = x.astype(np.float32)
    ours = np.asarray(network(jnp.asarray(x)))
    assert ours.std() > 0.1
    np.testing.assert_allclose(ours, oracle(network, x), atol=1e-4)


@pytest.mark.parametrize("options", [OPTIONS[0], *EVERYTHING], ids=name_of)
def test_folding_batch_norm_leaves_the_function_as_it_was(options, strict_numerics):
    arch = architecture(depth=1, base_filters=4, **options)
    arch = arch.model_copy(update={"batch_norm": True, "dropout": 0.1})
    network = net_with_statistics(arch)
    plain, folded = fold(network, arch)
    plain.eval()
    assert not folded.batch_norm
    assert not jax.tree.leaves(nnx.state(plain, nnx.BatchStat))
    x = jax.random.normal(jax.random.key(0), (2, 14, 10, 3)) * 2 + 1
    logits, expected = forward(plain, x), forward(network, x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_and_only_there():
    arch = architecture().model_copy(update={"dropout": 0.5})
    network, x = UNet(arch, nnx.Rngs(0)), jnp.ones((1, 16, 16, 3))
    network.train()
    assert (network(x) != network(x)).any()
    network.eval()
    assert (network(x) == network(x)).all()


def sensitive_rows(network, depth, length):
    """For each phase of the stride: an output row, and which input rows move it, by gradient.

    Where a gradient is zero by chance (a pooling lost), another draw finds it: the union over
    several inputs is taken.
    """
    stride = 2**depth
    centres = (length // 2) // stride * stride + jnp.arange(stride)
    row_sum = lambda x, row: jnp.take(network(x)[0], row, axis=0).sum()  # noqa: E731
    gradients = jax.jit(jax.vmap(jax.grad(row_sum), in_axes=(None, 0)))
    found = np.zeros((stride, length), bool)
    for seed in range(8):
        x = jax.random.normal(jax.random.key(seed), (1, length, stride, 1))
        found |= np.asarray(jnp.abs(gradients(x, centres)).sum(axis=(1, 3, 4)) > 0)
    return [(int(c), np.flatnonzero(rows)) for c, rows in zip(centres, found, strict=True)]


CASES = [(depth, OPTIONS[0]) for depth in (2, 3, 4, 5)] + [(1, options) for options in OPTIONS]
CASES += [(2, options) for options in EVERYTHING] + [(3, EVERYTHING[-1])]


@pytest.mark.parametrize(
    ("depth", "options"), CASES, ids=lambda x: x if isinstance(x, int) else name_of(x)
)
def test_the_reach_is_what_gradients_show_at_every_phase_of_the_stride(depth, options):
    stride, arch = 2**depth, architecture(depth, 2, 1, 1, **options)
    # Positive weights, so that no path is switched off by a ReLU for good.
    network = random_net(arch, seed=7)
    nnx.update(network, jax.tree.map(jnp.abs, nnx.state(network, nnx.Param)))
    length = 2 * radius(arch) + 6 * stride
    length -= length % stride
    farthest, needed = 0, 0
    for phase, (centre, rows) in enumerate(sensitive_rows(network, depth, length)):
        before, after = centre - rows.min(), rows.max() - centre
        farthest = max(farthest, before, after)
        needed = max(needed, before - phase, after - (stride - 1 - phase))
    assert farthest == radius(arch)
    assert needed == reach(arch)


def test_the_reach_grows_by_the_dilations_at_the_bottom_and_by_nothing_else():
    for depth in range(1, 6):
        for options in OPTIONS:
            wider = sum(options["dilations"]) * 2**depth
            arch = architecture(depth, **options)
            assert reach(arch) == reach(architecture(depth)) + wider
            assert radius(arch) == radius(architecture(depth)) + wider


def test_reach_and_radius_are_the_documented_numbers():
    assert [radius(architecture(d)) for d in range(1, 6)] == [9, 23, 51, 107, 219]
    assert [reach(architecture(d)) for d in range(1, 6)] == [8, 22, 46, 94, 190]
    assert [2 * (3 * 2**d - 2) + 2**d - 1 for d in range(1, 6)] == [
        radius(architecture(d)) for d in range(1, 6)
    ]


@pytest.mark.parametrize("options", EVERYTHING, ids=name_of)
def test_bfloat16_comes_out_where_it_goes_in_and_statistics_stay_float32(options, strict_numerics):
    arch = architecture(depth=1, **options).model_copy(update={"batch_norm": True})
    network = net_with_statistics(arch)
    x = jax.random.normal(jax.random.key(0), (2, 12, 8, 3))
    full, half = forward(network, x), forward(network, x.astype(jnp.bfloat16))
    assert (full.dtype, half.dtype) == (jnp.float32, jnp.bfloat16)
    assert abs(half.astype(jnp.float32) - full).max() < 0.1 * full.std()
    before = jax.tree.leaves(nnx.state(network, nnx.BatchStat))
    network.train()
    assert forward(network, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    after = jax.tree.leaves(nnx.state(network, nnx.BatchStat))
    assert {leaf.dtype for leaf in after} == {jnp.dtype("float32")}
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
