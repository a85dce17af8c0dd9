"""The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597), in flax NNX.

Each level is two 3×3 convolutions with ReLU; 2×2 max-pooling leads down and doubles the channels,
a 2×2 up-convolution leads up and halves them, and what the encoder saw is concatenated on the way
up. A 1×1 convolution gives the logits. Unlike the paper, convolutions are padded with zeros
("same"), so that a scene keeps its size, and batch normalisation stands directly after its
convolution (conv → BN → ReLU): the only order that folds exactly with zero padding.

Arrays are (tile, row, col, band); rows and columns are multiples of ``stride``.

Three operations are written in the form that XLA's CPU backend runs fastest; each is exact:
pooling as reshape + max, the up-convolution as a matrix product + reshape, and the first decoder
convolution as a sum over its two inputs, which saves the concatenation. Together they are about a
tenth faster at base 32 on two cores (benchmarks/forward.py, docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from geounet.card import Architecture

Features = Float[Array, "tile row col band"]
he_normal = nnx.initializers.he_normal()


class Conv(nnx.Module):
    """A 3×3 (or ``side``×``side``) convolution, zero-padded to the same size.

    Several inputs are convolved as if they had been concatenated along their bands.
    """

    def __init__(self, bands: int, out: int, side: int, bias: bool, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(he_normal(rngs.params(), (side, side, bands, out)))
        self.bias = nnx.Param(jnp.zeros(out)) if bias else None

    def __call__(self, *inputs: Features) -> Features:
        dtype = inputs[0].dtype
        splits = np.cumsum([x.shape[-1] for x in inputs])[:-1].tolist()
        kernels = jnp.split(self.kernel[...].astype(dtype), splits, axis=2)
        y = sum(_convolve(x, k) for x, k in zip(inputs[1:], kernels[1:], strict=True))
        y = (
            _convolve(inputs[0], kernels[0]) + y
            if len(inputs) > 1
            else _convolve(*inputs, *kernels)
        )
        return y if self.bias is None else y + self.bias[...].astype(dtype)[None, None, None, :]


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


class DoubleConv(nnx.Module):
    """Two 3×3 convolutions with ReLU; batch norm after each, and dropout between them, if asked."""

    def __init__(
        self, bands: int, out: int, batch_norm: bool, dropout: float, *, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = Conv(bands, out, 3, not batch_norm, rngs)
        self.conv2 = Conv(out, out, 3, not batch_norm, rngs)
        self.norm1 = nnx.BatchNorm(out, momentum=0.9, rngs=rngs) if batch_norm else None
        self.norm2 = nnx.BatchNorm(out, momentum=0.9, rngs=rngs) if batch_norm else None
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else None

    def __call__(self, *inputs: Features) -> Features:
        x = jax.nn.relu(_identity_if_none(self.norm1)(self.conv1(*inputs)))
        x = _identity_if_none(self.dropout)(x)
        return jax.nn.relu(_identity_if_none(self.norm2)(self.conv2(x)))


class UNet(nnx.Module):
    """The network of an ``Architecture``: (tile, row, col, band) → (tile, row, col, output) logits.

    Rows and columns must be multiples of ``2 ** depth``. With one output the logit is that of the
    second class (sigmoid); with more, one logit per class (softmax). Dropout, in training only,
    acts in the encoder.
    """

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs) -> None:
        a = architecture
        widths = [a.base_filters * 2**level for level in range(a.depth + 1)]
        self.encoder = nnx.List(
            DoubleConv(bands, out, a.batch_norm, a.dropout, rngs=rngs)
            for bands, out in zip([a.bands, *widths], widths, strict=False)
        )
        self.up = nnx.List(UpConv(2 * out, out, rngs) for out in widths[:-1])
        self.decoder = nnx.List(
            DoubleConv(2 * out, out, a.batch_norm, 0.0, rngs=rngs) for out in widths[:-1]
        )
        self.head = Conv(widths[0], a.outputs, 1, True, rngs)

    def __call__(self, x: Features) -> Features:
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else _pool(x))
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](skips[level], self.up[level](x))
        return self.head(x)


def fold(model: UNet, architecture: Architecture) -> tuple[UNet, Architecture]:
    """The same function without batch norm: running statistics go into kernels and biases.

    ``fold(model)(x) == model(x)`` in evaluation mode, up to rounding.
    """
    folded = architecture.model_copy(update={"batch_norm": False, "dropout": 0.0})
    plain = UNet(folded, nnx.Rngs(0))
    pairs = [*zip(model.encoder, plain.encoder, strict=True)]
    pairs += [*zip(model.decoder, plain.decoder, strict=True)]
    for block, target in pairs:
        _fold_conv(block.conv1, block.norm1, target.conv1)
        _fold_conv(block.conv2, block.norm2, target.conv2)
    for up, target_up in zip(model.up, plain.up, strict=True):
        nnx.update(target_up, nnx.state(up))
    nnx.update(plain.head, nnx.state(model.head))
    return plain, folded


def radius(depth: int) -> int:
    """Receptive radius: the farthest input pixel, along one axis, that can move an output pixel."""
    stride = 2**depth
    return max(_reach_of(phase, depth) + phase for phase in range(stride))


def reach(depth: int) -> int:
    """The halo that a core on the stride grid needs: 8, 22, 46, 94, 190 for depths 1 to 5.

    The largest, over the core's pixels, of the radius there minus the distance to the core's edge.
    A plan rounds it up to the stride.
    """
    return _reach_of(0, depth)


def _reach_of(pixel: int, depth: int) -> int:
    """How far before pixel 0 the leftmost input of output ``pixel`` lies, along one axis.

    Interval arithmetic, from the logits back to the image: a double convolution widens by 2, an
    up-convolution halves (rounding down), pooling doubles.
    """
    left = pixel
    for _ in range(depth):
        left = (left - 2) // 2
    left -= 2
    for _ in range(depth):
        left = 2 * left - 2
    return -left


def _fold_conv(conv: Conv, norm: nnx.BatchNorm | None, target: Conv) -> None:
    if norm is None:
        nnx.update(target, nnx.state(conv))
        return
    assert norm.scale is not None
    assert norm.bias is not None
    assert target.bias is not None
    gain = norm.scale[...] / jnp.sqrt(norm.var[...] + norm.epsilon)
    target.kernel[...] = conv.kernel[...] * gain[None, None, None, :]
    target.bias[...] = norm.bias[...] - norm.mean[...] * gain


def _convolve(x: Features, kernel: Array) -> Features:
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=dims, precision=_precision(x)
    )


def _pool(x: Features) -> Features:
    n, rows, cols, bands = x.shape
    return x.reshape(n, rows // 2, 2, cols // 2, 2, bands).max(axis=(2, 4))


def _precision(x: Array) -> jax.lax.Precision:
    # GPUs may round float32 products to TF32 unless told otherwise; the seam law needs float32.
    exact = x.dtype == jnp.float32
    return jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT


def _identity_if_none(layer: Callable[[Array], Array] | None) -> Callable[[Array], Array]:
    return layer if layer is not None else lambda x: x
