"""A U-Net over a ResNet encoder, as segmentation_models.pytorch builds it: for imported weights.

The encoder is that of He et al. 2015 (arXiv:1512.03385, table 1, 18 and 34 layers): a 7×7
convolution of stride 2, a 3×3 max-pooling of stride 2, and four stages of basic blocks, of which
the last three begin with stride 2. Five levels lead up again: nearest repetition to twice the size,
the encoder's map of that size beside it, two 3×3 convolutions. A 3×3 convolution gives the logits.

Batch norm stands directly after its convolution everywhere, and is folded into it on import
(torch_weights.py): the network here has none. All the rest looks at a bounded neighbourhood on a
grid of 32 pixels, so the five rules of exact tiling hold. Padding is PyTorch's: zeros before a
convolution, −∞ before the max-pooling.

Arrays are (tile, row, col, band); rows and columns are multiples of 32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from geounet.blocks import Conv, Features, he_normal
from geounet.card import ResNetArchitecture

Interval = tuple[int, int]
STRIDE = 32


class StridedConv(nnx.Module):
    """A ``side``×``side`` convolution with a bias that keeps every second pixel.

    Padded by ``side // 2`` on all sides, as PyTorch's: output k is centred on input 2k, whereas
    "SAME" padding would centre an even-sized input's between two pixels.
    """

    def __init__(self, bands: int, out: int, side: int, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(he_normal(rngs.params(), (side, side, bands, out)))
        self.bias = nnx.Param(jnp.zeros(out))

    def __call__(self, x: Features) -> Features:
        half = self.kernel.shape[0] // 2
        exact = x.dtype == jnp.float32
        y = jax.lax.conv_general_dilated(
            x,
            self.kernel[...].astype(x.dtype),
            (2, 2),
            ((half, half), (half, half)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT,
        )
        return y + self.bias[...].astype(x.dtype)[None, None, None, :]


class BasicBlock(nnx.Module):
    """He et al. 2015, figure 2: two 3×3 convolutions around a shortcut.

    ``halves`` the size: the first convolution and the shortcut, then a 1×1 one, have stride 2.
    """

    def __init__(self, bands: int, out: int, halves: bool, rngs: nnx.Rngs) -> None:
        self.conv1 = (
            StridedConv(bands, out, 3, rngs) if halves else Conv(bands, out, 3, False, rngs=rngs)
        )
        self.conv2 = Conv(out, out, 3, False, rngs=rngs)
        self.shortcut = StridedConv(bands, out, 1, rngs) if halves else None

    def __call__(self, x: Features) -> Features:
        y = self.conv2(jax.nn.relu(self.conv1(x)))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class UpBlock(nnx.Module):
    """Repeats each pixel 2×2, puts what the encoder saw beside it, and convolves twice."""

    def __init__(self, bands: int, out: int, rngs: nnx.Rngs) -> None:
        self.conv1 = Conv(bands, out, 3, False, rngs=rngs)
        self.conv2 = Conv(out, out, 3, False, rngs=rngs)

    def __call__(self, x: Features, *seen: Features) -> Features:
        repeated = x.repeat(2, axis=1).repeat(2, axis=2)
        return jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(repeated, *seen))))


class ResNetUNet(nnx.Module):
    """The network of a ``ResNetArchitecture``: (tile, row, col, band) → logits of the same size.

    Rows and columns must be multiples of 32. With one output the logit is that of the second class
    (sigmoid); with more, one logit per class (softmax). The logits have the type of the input.
    """

    def __init__(self, architecture: ResNetArchitecture, rngs: nnx.Rngs) -> None:
        a = architecture
        widths = [a.encoder_width * 2**stage for stage in range(4)]
        self.stem = StridedConv(a.bands, a.encoder_width, 7, rngs)
        self.stages = nnx.List(
            nnx.List(
                BasicBlock(bands if k == 0 else out, out, k == 0 and stage > 0, rngs)
                for k in range(a.blocks[stage])
            )
            for stage, (bands, out) in enumerate(
                zip([a.encoder_width, *widths], widths, strict=False)
            )
        )
        # What is repeated, and beside it the encoder's map of that size; the finest has none.
        below = [widths[-1], *a.decoder[:-1]]
        beside = [*widths[-2::-1], a.encoder_width, 0]
        self.decoder = nnx.List(
            UpBlock(low + skip, out, rngs)
            for low, skip, out in zip(below, beside, a.decoder, strict=True)
        )
        self.head = Conv(a.decoder[-1], a.outputs, 3, False, rngs=rngs)

    def __call__(self, x: Features) -> Features:
        x = jax.nn.relu(self.stem(x))
        seen = [x]
        for stage, blocks in enumerate(self.stages):
            x = x if stage else _pool(x)
            for block in blocks:
                x = block(x)
            seen.append(x)
        x, *beside = reversed(seen)
        for up, skip in zip(self.decoder, [*beside, None], strict=True):
            x = up(x) if skip is None else up(x, skip)
        return self.head(x)


def radius(architecture: ResNetArchitecture) -> int:
    """Receptive radius: the farthest input pixel, along one axis, that can move an output pixel."""
    spans = [(p, _span_of(p, architecture)) for p in range(STRIDE)]
    return max(max(p - low, high - p) for p, (low, high) in spans)


def reach(architecture: ResNetArchitecture) -> int:
    """The halo that a core on the stride grid needs: 281 pixels for 18 layers, 513 for 34.

    The larger of what the core's first pixel needs before it, and its last pixel after it (31 less:
    a convolution of stride 2 is centred on the first of each pair of pixels). A plan rounds it up
    to the stride: 288 and 544.
    """
    before, _ = _span_of(0, architecture)
    _, after = _span_of(STRIDE - 1, architecture)
    return max(-before, after - (STRIDE - 1))


def _span_of(pixel: int, architecture: ResNetArchitecture) -> Interval:
    """First and last input pixel that can move output ``pixel``, along one axis.

    Interval arithmetic, from the logits back to the image, over the union of all ways: a 3×3
    convolution widens by 1, repetition halves (rounding down), stride 2 doubles and then widens.
    """
    span = _wider((pixel, pixel), 1)
    spans = []
    for _ in architecture.decoder:
        low, high = _wider(span, 2)
        spans.append((low, high))
        span = (low // 2, high // 2)
    for stage in (3, 2, 1):
        # The stage's stride is its first convolution's; the shortcut's 1×1 sees less.
        span = _strided(_wider(span, 2 * architecture.blocks[stage] - 1), 1)
        span = _union(span, spans[stage + 1])
    span = _strided(_wider(span, 2 * architecture.blocks[0]), 1)
    return _strided(_union(span, spans[1]), 3)


def _wider(span: Interval, by: int) -> Interval:
    return span[0] - by, span[1] + by


def _strided(span: Interval, by: int) -> Interval:
    return 2 * span[0] - by, 2 * span[1] + by


def _union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _pool(x: Features) -> Features:
    """3×3 max-pooling of stride 2, as three shifted maxima per axis: far faster on a CPU."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    x = jnp.maximum(jnp.maximum(x[:, :-2:2], x[:, 1:-1:2]), x[:, 2::2])
    return jnp.maximum(jnp.maximum(x[:, :, :-2:2], x[:, :, 1:-1:2]), x[:, :, 2::2])
