"""What a U-Net is made of: convolutions with their batch norm, and the blocks of one level.

Batch normalisation stands directly after its convolution (conv → BN → activation): the only order
that folds exactly with zero padding. It therefore belongs to the convolution here, and ``folded``
gives the one convolution that does the same as both.

A block takes one or more inputs, as if they had been concatenated along their bands, and its
``radius`` says how many pixels it looks to each side. A level's block always has two 3×3
convolutions, whatever its kind, so the choice of block does not change the network's reach.

Arrays are (tile, row, col, band), float32 or bfloat16, and what comes out has the type of what
went in; the statistics of batch norm are always float32.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from geounet.card import Architecture

Features = Float[Array, "tile row col band"]
he_normal = nnx.initializers.he_normal()


class Conv(nnx.Module):
    """A ``side``×``side`` convolution, zero-padded to the same size, then batch norm or a bias.

    Several inputs are convolved as if they had been concatenated along their bands: a sum over
    them, which saves the concatenation.
    """

    def __init__(
        self, bands: int, out: int, side: int, norm: bool, *, dilation: int = 1, rngs: nnx.Rngs
    ) -> None:
        self.kernel = nnx.Param(he_normal(rngs.params(), (side, side, bands, out)))
        self.bias = None if norm else nnx.Param(jnp.zeros(out))
        self.norm = nnx.BatchNorm(out, momentum=0.9, rngs=rngs) if norm else None
        self.dilation = dilation

    def __call__(self, *inputs: Features) -> Features:
        splits = np.cumsum([x.shape[-1] for x in inputs])[:-1].tolist()
        kernels = jnp.split(self.kernel[...].astype(inputs[0].dtype), splits, axis=2)
        y = convolve(inputs[0], kernels[0], self.dilation)
        for x, kernel in zip(inputs[1:], kernels[1:], strict=True):
            y = y + convolve(x, kernel, self.dilation)
        return _finished(self, y)


class Depthwise(nnx.Module):
    """A 3×3 convolution of each band by itself, zero-padded, then batch norm or a bias.

    Not a grouped convolution: a CPU takes 26 times as long for one (docs/performance.md).
    """

    def __init__(self, bands: int, norm: bool, *, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(he_normal(rngs.params(), (3, 3, 1, bands)))
        self.bias = None if norm else nnx.Param(jnp.zeros(bands))
        self.norm = nnx.BatchNorm(bands, momentum=0.9, rngs=rngs) if norm else None

    def __call__(self, x: Features) -> Features:
        return _finished(self, _depthwise(x, self.kernel[...].astype(x.dtype)))


class UpConv(nnx.Module):
    """The paper's 2×2 up-convolution: each pixel becomes 2×2 pixels of ``out`` bands.

    Stride equals size, so no two outputs overlap and it is one matrix product.
    """

    def __init__(self, bands: int, out: int, rngs: nnx.Rngs) -> None:
        # Every output pixel sees exactly one input pixel, hence a fan-in of ``bands``.
        self.kernel = nnx.Param(
            he_normal(rngs.params(), (bands, 4 * out)).reshape(bands, 2, 2, out)
        )
        self.bias = nnx.Param(jnp.zeros(out))

    def __call__(self, x: Features) -> Features:
        n, rows, cols, bands = x.shape
        kernel = self.kernel[...].astype(x.dtype)
        out = kernel.shape[-1]
        y = jnp.dot(x, kernel.reshape(bands, 4 * out), precision=_precision(x))
        y = y.reshape(n, rows, cols, 2, 2, out).swapaxes(2, 3)
        y = y.reshape(n, 2 * rows, 2 * cols, out)
        return y + self.bias[...].astype(x.dtype)[None, None, None, :]


class PlainBlock(nnx.Module):
    """The paper's: two 3×3 convolutions with ReLU, dropout between them if asked."""

    radius: ClassVar[int] = 2

    def __init__(
        self, bands: int, out: int, a: Architecture, dropout: float, *, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = Conv(bands, out, 3, a.batch_norm, rngs=rngs)
        self.conv2 = Conv(out, out, 3, a.batch_norm, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, *inputs: Features) -> Features:
        x = _dropped(self.dropout, jax.nn.relu(self.conv1(*inputs)))
        return jax.nn.relu(self.conv2(x))


class ResidualBlock(nnx.Module):
    """He et al. 2015 (arXiv:1512.03385), figure 2: two 3×3 convolutions around a shortcut.

    The shortcut is the input itself, or its 1×1 projection where the widths differ.
    """

    radius: ClassVar[int] = 2

    def __init__(
        self, bands: int, out: int, a: Architecture, dropout: float, *, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = Conv(bands, out, 3, a.batch_norm, rngs=rngs)
        self.conv2 = Conv(out, out, 3, a.batch_norm, rngs=rngs)
        self.projection = Conv(bands, out, 1, a.batch_norm, rngs=rngs) if bands != out else None
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, *inputs: Features) -> Features:
        x = _dropped(self.dropout, jax.nn.relu(self.conv1(*inputs)))
        shortcut = self.projection(*inputs) if self.projection is not None else inputs[0]
        return jax.nn.relu(self.conv2(x) + shortcut)


class MBConv(nnx.Module):
    """Sandler et al. 2018 (arXiv:1801.04381), figure 3: widen, look round per band, narrow.

    With EfficientNet's SiLU (arXiv:1905.11946) but without its squeeze-and-excite, which looks at
    a whole window (rule 4 of exact tiling). What comes out has no activation: the bottleneck is
    linear. Unlike there, ``expansion`` multiplies the width that comes out: a handful of image
    bands would widen to too little.
    """

    def __init__(self, bands: int, out: int, a: Architecture, *, rngs: nnx.Rngs) -> None:
        wide = a.expansion * out
        self.expand = Conv(bands, wide, 1, a.batch_norm, rngs=rngs)
        self.depthwise = Depthwise(wide, a.batch_norm, rngs=rngs)
        self.project = Conv(wide, out, 1, a.batch_norm, rngs=rngs)
        self.shortcut = bands == out

    def __call__(self, *inputs: Features) -> Features:
        x = jax.nn.silu(self.expand(*inputs))
        x = self.project(jax.nn.silu(self.depthwise(x)))
        return x + inputs[0] if self.shortcut else x


class InvertedBottleneckBlock(nnx.Module):
    """Two ``MBConv``, the second with its shortcut; dropout between them if asked."""

    radius: ClassVar[int] = 2

    def __init__(
        self, bands: int, out: int, a: Architecture, dropout: float, *, rngs: nnx.Rngs
    ) -> None:
        self.first = MBConv(bands, out, a, rngs=rngs)
        self.second = MBConv(out, out, a, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, *inputs: Features) -> Features:
        return self.second(_dropped(self.dropout, self.first(*inputs)))


Block: TypeAlias = PlainBlock | ResidualBlock | InvertedBottleneckBlock
BLOCKS: dict[str, type[Block]] = {
    "plain": PlainBlock,
    "residual": ResidualBlock,
    "inverted_bottleneck": InvertedBottleneckBlock,
}


class AttentionGate(nnx.Module):
    """Oktay et al. 2018 (arXiv:1804.03999), equations 1 and 2: α = σ(ψ(ReLU(W_x x + W_g g + b))).

    ``x`` is what the encoder saw, ``g`` the signal from the level below, of twice the bands and
    half the size; ``α x`` comes out. The paper coarsens ``x`` and interpolates ``α``; here W_g g is
    repeated 2×2, as the up-convolution spreads its pixels, so the gate does not change the reach.
    The paper leaves the finest level without a gate; here each has one.
    """

    def __init__(self, bands: int, *, rngs: nnx.Rngs) -> None:
        inner = max(1, bands // 2)
        self.skip = Conv(bands, inner, 1, False, rngs=rngs)
        self.signal = Conv(2 * bands, inner, 1, False, rngs=rngs)
        self.psi = Conv(inner, 1, 1, False, rngs=rngs)
        # As in the paper, gates begin nearly open, σ(3) = 0.95, and learn what to close.
        self.psi.bias = nnx.Param(jnp.full(1, 3.0, jnp.float32))

    def __call__(self, skip: Features, signal: Features) -> Features:
        repeated = self.signal(signal).repeat(2, axis=1).repeat(2, axis=2)
        return skip * jax.nn.sigmoid(self.psi(jax.nn.relu(self.skip(skip) + repeated)))


class DilatedBottleneck(nnx.Module):
    """Zhou, Zhang and Wu 2018 (D-LinkNet, CVPR workshops): dilated 3×3 convolutions at the bottom.

    They follow one another, each with ReLU, and what comes out is the sum of the input and of what
    each gave: views of several widths. Its radius is the sum of the dilations.
    """

    def __init__(self, bands: int, a: Architecture, *, rngs: nnx.Rngs) -> None:
        self.convs = nnx.List(
            Conv(bands, bands, 3, a.batch_norm, dilation=d, rngs=rngs) for d in a.dilations
        )

    def __call__(self, x: Features) -> Features:
        total = x
        for conv in self.convs:
            x = jax.nn.relu(conv(x))
            total = total + x
        return total


def folded(layer: Conv | Depthwise) -> tuple[Array, Array]:
    """The kernel and bias that do what ``layer`` does in evaluation mode, batch norm included."""
    kernel, norm = layer.kernel[...], layer.norm
    if norm is None:
        return kernel, _there(layer.bias)
    gain = _there(norm.scale) / jnp.sqrt(norm.var[...] + norm.epsilon)
    return kernel * gain[None, None, None, :], _there(norm.bias) - norm.mean[...] * gain


def _there(parameter: nnx.Param | None) -> Array:
    assert parameter is not None
    return parameter[...]


def _finished(layer: Conv | Depthwise, y: Features) -> Features:
    if layer.norm is not None:
        return layer.norm(y.astype(jnp.float32)).astype(y.dtype)
    return y + _there(layer.bias).astype(y.dtype)[None, None, None, :]


def _dropped(dropout: nnx.Dropout | None, x: Features) -> Features:
    return x if dropout is None else dropout(x)


def convolve(x: Features, kernel: Array, dilation: int = 1) -> Features:
    """``x`` (N, H, W, C) with ``kernel`` (h, w, C, D), zeros around it: (N, H, W, D)."""
    if kernel.shape[:2] == (1, 1):
        # The same, and on a CPU faster wherever it narrows (docs/performance.md).
        return jnp.dot(x, kernel[0, 0], precision=_precision(x))
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        "SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=_precision(x),
    )


@jax.custom_vjp
def _depthwise(x: Features, kernel: Array) -> Features:
    """Nine shifted products, summed in float32: one loop, once XLA has fused them."""
    rows, cols = x.shape[1:3]
    padded, y = _edged(x), jnp.zeros(x.shape, jnp.float32)
    for i, j in np.ndindex(3, 3):
        shifted = padded[:, i : i + rows, j : j + cols].astype(jnp.float32)
        y = y + shifted * kernel[i, j].astype(jnp.float32)[None, None]
    return y.astype(x.dtype)


def _depthwise_kept(x: Features, kernel: Array) -> tuple[Features, tuple[Features, Array]]:
    return _depthwise(x, kernel), (x, kernel)


def _depthwise_slopes(kept: tuple[Features, Array], slope: Features) -> tuple[Features, Array]:
    # Differentiated by JAX, nine shifted maps would be held at once: four times the memory, and
    # on a CPU twice the time. One tap after another needs one.
    x, kernel = kept
    padded, slope32 = _edged(x), slope.astype(jnp.float32)

    def tap(corner: Array) -> Array:
        shifted = jax.lax.dynamic_slice(padded, (0, corner[0], corner[1], 0), x.shape)
        return (shifted.astype(jnp.float32) * slope32).sum(axis=(0, 1, 2))

    taps = jax.lax.map(tap, jnp.asarray([*np.ndindex(3, 3)]))
    return _depthwise(slope, kernel[::-1, ::-1]), taps.reshape(kernel.shape).astype(kernel.dtype)


_depthwise.defvjp(_depthwise_kept, _depthwise_slopes)


def _edged(x: Features) -> Features:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _precision(x: Array) -> jax.lax.Precision:
    # GPUs may round float32 products to TF32 unless told otherwise; the seam law needs float32.
    exact = x.dtype == jnp.float32
    return jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT
