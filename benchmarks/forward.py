"""What limits the CPU: the bare forward pass, its operations in other forms, and the peak.

    python -m benchmarks.forward [--base 32] [--window 1024] [--rounds 5]
    python -m benchmarks.forward --block residual --block inverted_bottleneck --block attention …

Without ``--block``, the plain network's operations in other forms, each with the same logits; with
it, the networks that it names beside the plain one, and the depthwise convolution as a grouped one.
Everything is timed in turn. The peak is a float32 matrix product of 2048³, the most that XLA's CPU
backend does here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.made import BANDS
from geounet import blocks, unet
from geounet.card import Architecture
from geounet.unet import UNet
from tests.nets import random_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", action="append", choices=KINDS, default=[])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    named = [("as it is", PLAIN, ())]
    named += [(name, KINDS[name], ()) for name in args.block]
    if "inverted_bottleneck" in args.block:
        named.append(("… with grouped convolutions", KINDS["inverted_bottleneck"], (GROUPED,)))
    if not args.block:
        named += [(name, PLAIN, changes) for name, changes in VARIANTS.items()]
    x = jax.random.normal(jax.random.key(0), (1, args.window, args.window, len(BANDS)))
    runs, work, logits = {}, {}, {}
    for name, options, changes in named:
        network = network_of(args.base, options)
        runs[name], work[name] = compiled(network, x, changes), flops_of(network, x)
        # The same weights, whatever the form of the operations.
        truth = logits.setdefault(str(options), np.asarray(runs[name]()))
        tolerance = 1e-3 * max(1, truth.std())
        np.testing.assert_allclose(runs[name](), truth, atol=tolerance, rtol=0, err_msg=name)
    seconds = in_turn(runs, args.rounds)
    pixels = args.window**2
    lines = [
        f"matrix product {peak():.0f} GFLOP/s\n",
        "| forward pass | kFLOP/px | s | Mpx/s | GFLOP/s |",
        "|---|---|---|---|---|",
    ]
    for name, one in seconds.items():
        flops = work[name]
        lines.append(
            f"| {name} | {flops / pixels / 1e3:.0f} | {one:.2f} | {pixels / 1e6 / one:.2f} "
            f"| {flops / 1e9 / one:.0f} |"
        )
    print("\n".join(lines))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "forward.md").write_text("\n".join(lines) + "\n")


def network_of(base: int, options: dict) -> UNet:
    return random_net(
        Architecture(
            bands=len(BANDS), outputs=4, depth=4, base_filters=base, batch_norm=False, dropout=0,
            **options,
        )
    )  # fmt: skip


@contextmanager
def replaced(owner, name: str, value) -> Iterator[None]:
    """``owner.name`` is ``value`` inside the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def concatenate_first(self, *inputs):
    x = jnp.concatenate(inputs, axis=-1)
    y = blocks.convolve(x, self.kernel[...])
    return y + self.bias[...][None, None, None, :]


def as_transposed_convolution(self, x):
    kernel = self.kernel[...].transpose(1, 2, 0, 3)
    y = jax.lax.conv_transpose(
        x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST, transpose_kernel=False,
    )  # fmt: skip
    return y + self.bias[...][None, None, None, :]


def flipped(self, x):
    # conv_transpose correlates, so the 2×2 kernel is turned round to give the paper's operation.
    kernel = self.kernel[...]
    turned = type("Turned", (), {"kernel": kernel[:, ::-1, ::-1], "bias": self.bias})
    return as_transposed_convolution(turned, x)


def reduce_window(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def nine_products(x, kernel, dilation=1):
    """A convolution as one matrix product per kernel tap."""
    assert dilation == 1
    side = kernel.shape[0]
    edge = side // 2
    padded = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    rows, cols = x.shape[1:3]
    return sum(
        jnp.dot(padded[:, i : i + rows, j : j + cols], kernel[i, j], precision="highest")
        for i in range(side)
        for j in range(side)
    )


def grouped(self, x):
    kernel = self.kernel[...]
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1], precision=jax.lax.Precision.HIGHEST,
    )  # fmt: skip
    return y + self.bias[...][None, None, None, :]


PLAIN: dict = {}
KINDS = {
    "residual": {"block": "residual"},
    "inverted_bottleneck": {"block": "inverted_bottleneck"},
    "attention": {"attention": True},
    "dilations": {"dilations": (2, 4)},
}
GROUPED = (blocks.Depthwise, "__call__", grouped)
CONCATENATED = (blocks.Conv, "__call__", concatenate_first)
TRANSPOSED = (blocks.UpConv, "__call__", flipped)
REDUCED = (unet, "_pool", reduce_window)
VARIANTS = {
    "skip concatenated first": (CONCATENATED,),
    "up-convolution by conv_transpose": (TRANSPOSED,),
    "pooling by reduce_window": (REDUCED,),
    "all three": (CONCATENATED, TRANSPOSED, REDUCED),
    "convolution as nine matrix products": ((blocks, "convolve", nine_products),),
}


def compiled(network, x, changes):
    graph, state = nnx.split(network)
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(replaced(*change))
        executable = forward.lower(state, x).compile()
    return lambda: executable(state, x).block_until_ready()


def in_turn(runs, rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def flops_of(network: UNet, x) -> float:
    """Of one forward pass, as XLA counts them before it compiles."""
    graph, state = nnx.split(network)
    lowered = jax.jit(lambda state, x: nnx.merge(graph, state)(x)).lower(state, x)
    return lowered.cost_analysis()["flops"]


def peak(side: int = 2048, rounds: int = 5) -> float:
    """GFLOP/s of a float32 matrix product."""
    a = jax.random.normal(jax.random.key(0), (side, side))
    product = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    product(a).block_until_ready()
    seconds = in_turn({"product": lambda: product(a).block_until_ready()}, rounds)["product"]
    return 2 * side**3 / 1e9 / seconds


if __name__ == "__main__":
    main()
