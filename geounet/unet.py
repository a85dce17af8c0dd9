"""The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597), in flax NNX.

Each level is two 3×3 convolutions with ReLU; 2×2 max-pooling leads down and doubles the channels,
a 2×2 up-convolution leads up and halves them, and what the encoder saw is concatenated on the way
up. A 1×1 convolution gives the logits. Unlike the paper, convolutions are padded with zeros
("same"), so that a scene keeps its size, and each may have its batch norm.

An ``Architecture`` may ask for other blocks, for attention gates on what the encoder saw, and for
dilated convolutions at the bottom (blocks.py). All keep the five rules of exact tiling.

Arrays are (tile, row, col, band); rows and columns are multiples of ``stride``.

Operations are written in the form that XLA's CPU backend runs fastest; each is exact: pooling as
reshape + max, the up-convolution as a matrix product + reshape, a 1×1 convolution as a matrix
product, and the first decoder convolution as a sum over its two inputs, which saves the
concatenation (benchmarks/forward.py, docs/performance.md).
"""

from __future__ import annotations

from flax import nnx

from geounet.blocks import (
    BLOCKS,
    AttentionGate,
    Block,
    Conv,
    Depthwise,
    DilatedBottleneck,
    Features,
    UpConv,
    folded,
)
from geounet.card import Architecture


class UNet(nnx.Module):
    """The network of an ``Architecture``: (tile, row, col, band) → (tile, row, col, output) logits.

    Rows and columns must be multiples of ``2 ** depth``. With one output the logit is that of the
    second class (sigmoid); with more, one logit per class (softmax). Dropout, in training only,
    acts in the encoder. The logits have the type of the input, float32 or bfloat16.

    Args:
        architecture: what to build.
        rngs: what to draw the weights, and dropout, from.
        remat: in training, keep what goes into each block and compute its inside again for the
            gradient: less memory, more time, the same numbers.
    """

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs, remat: bool = False) -> None:
        a = architecture
        block = BLOCKS[a.block]
        widths = [a.base_filters * 2**level for level in range(a.depth + 1)]
        self.encoder = nnx.List(
            block(bands, out, a, a.dropout, rngs=rngs)
            for bands, out in zip([a.bands, *widths], widths, strict=False)
        )
        self.context = DilatedBottleneck(widths[-1], a, rngs=rngs) if a.dilations else None
        self.up = nnx.List(UpConv(2 * out, out, rngs) for out in widths[:-1])
        gated = widths[:-1] if a.attention else []
        self.gates = nnx.List(AttentionGate(out, rngs=rngs) for out in gated)
        self.decoder = nnx.List(block(2 * out, out, a, 0.0, rngs=rngs) for out in widths[:-1])
        self.head = Conv(widths[0], a.outputs, 1, False, rngs=rngs)
        self.remat = remat

    def __call__(self, x: Features) -> Features:
        run = _run_again_for_the_gradient if self.remat else _run
        skips = []
        for level, block in enumerate(self.encoder):
            x = run(block, x if level == 0 else _pool(x))
            skips.append(x)
        if self.context is not None:
            x = run(self.context, x)
        for level in reversed(range(len(self.decoder))):
            seen = run(self.gates[level], skips[level], x) if self.gates else skips[level]
            x = run(self.decoder[level], seen, self.up[level](x))
        return self.head(x)


def fold(model: UNet, architecture: Architecture) -> tuple[UNet, Architecture]:
    """The same function without batch norm: running statistics go into kernels and biases.

    ``fold(model)(x) == model(x)`` in evaluation mode, up to rounding.
    """
    without = architecture.model_copy(update={"batch_norm": False, "dropout": 0.0})
    plain = UNet(without, nnx.Rngs(0))
    layers = dict(nnx.iter_modules(model))
    for path, target in nnx.iter_modules(plain):
        layer = layers[path]
        if isinstance(target, Conv | Depthwise):
            assert isinstance(layer, Conv | Depthwise)
            target.kernel, target.bias = map(nnx.Param, folded(layer))
        elif isinstance(target, UpConv):
            nnx.update(target, nnx.state(layer))
    return plain, without


def radius(architecture: Architecture) -> int:
    """Receptive radius: the farthest input pixel, along one axis, that can move an output pixel."""
    stride = 2**architecture.depth
    return max(_reach_of(phase, architecture) + phase for phase in range(stride))


def reach(architecture: Architecture) -> int:
    """The halo that a core on the stride grid needs: 8, 22, 46, 94, 190 for depths 1 to 5.

    The largest, over the core's pixels, of the radius there minus the distance to the core's edge.
    Dilations add their sum times the stride; blocks and gates add nothing. A plan rounds it up to
    the stride.
    """
    return _reach_of(0, architecture)


def _reach_of(pixel: int, architecture: Architecture) -> int:
    """How far before pixel 0 the leftmost input of output ``pixel`` lies, along one axis.

    Interval arithmetic, from the logits back to the image: a block widens by its radius, an
    up-convolution or a gate's signal halves (rounding down), the dilated convolutions widen by
    the sum of their dilations, pooling doubles.
    """
    a, widening = architecture, BLOCKS[architecture.block].radius
    left = pixel
    for _ in range(a.depth):
        left = (left - widening) // 2
    left -= sum(a.dilations) + widening
    for _ in range(a.depth):
        left = 2 * left - widening
    return -left


def _run(block: Block | AttentionGate | DilatedBottleneck, *inputs: Features) -> Features:
    return block(*inputs)


_run_again_for_the_gradient = nnx.remat(_run)


def _pool(x: Features) -> Features:
    n, rows, cols, bands = x.shape
    return x.reshape(n, rows // 2, 2, cols // 2, 2, bands).max(axis=(2, 4))
