"""Each 3 × 3 convolution of a training step alone, beside PyTorch: where a step's time goes.

    python -m benchmarks.convolutions [--base 16] [--batch 8] [--side 128]

Forward, gradient of the image and gradient of the kernel, milliseconds, medians of seven rounds;
PyTorch's is the faster of its two memory layouts. Ours are compiled as the package does. They do
not take turns: PyTorch's threads spin for a while after their work, which would count as ours.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from geounet.blocks import convolve
from geounet.compiling import compiled

ROUNDS, BANDS, DEPTH = 7, 6, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    args = parser.parse_args()
    print("| side, bands | forward: ours, PyTorch | of the image | of the kernel |")
    print("|---|---|---|---|")
    for level in range(DEPTH + 1):
        side, bands = args.side >> level, args.base << level
        for before in (bands // 2 if level else BANDS, bands):
            cells = [f"{a:.1f}, {b:.1f}" for a, b in _layer(args.batch, side, before, bands)]
            print(f"| {side}², {before} to {bands} | {' | '.join(cells)} |", flush=True)


@compiled()
def _forward(x: jax.Array, kernel: jax.Array, _: jax.Array) -> jax.Array:
    return convolve(x, kernel)


@compiled()
def _of_image(x: jax.Array, kernel: jax.Array, slope: jax.Array) -> jax.Array:
    return jax.vjp(lambda image: convolve(image, kernel), x)[1](slope)[0]


@compiled()
def _of_kernel(x: jax.Array, kernel: jax.Array, slope: jax.Array) -> jax.Array:
    return jax.vjp(lambda weights: convolve(x, weights), kernel)[1](slope)[0]


def _layer(batch: int, side: int, bands: int, out: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng(0)
    shapes = (batch, side, side, bands), (3, 3, bands, out), (batch, side, side, out)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    given = [jax.numpy.asarray(array) for array in arrays]
    layouts = (torch.contiguous_format, torch.channels_last)
    rivals = [_in_torch(arrays, layout) for layout in layouts]
    found = []
    for which, ours in enumerate((_forward, _of_image, _of_kernel)):
        mine = _median(lambda f=ours: f(*given).block_until_ready())
        found.append((mine, min(_median(rival[which]) for rival in rivals)))
    return found


def _in_torch(arrays: list[np.ndarray], layout: torch.memory_format) -> list[Callable[[], Any]]:
    axes = (0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)
    x, kernel, slope = (
        torch.from_numpy(array).permute(order).contiguous(memory_format=layout)
        for array, order in zip(arrays, axes, strict=True)
    )

    def gradient(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            slope, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, list(wanted)
        )

    return [
        lambda: torch.nn.functional.conv2d(x, kernel, padding=1),
        lambda: gradient(True, False, False),
        lambda: gradient(False, True, False),
    ]


def _median(run: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
