"""Whether XLA's older emitters of fused loops, which we ask for, cost anything but save time.

    python -m benchmarks.compiling [--rounds 9]

A forward and its gradient, compiled with and without them, run in turn. Printed: seconds to
compile, median wall and processor seconds of a run, and whether all numbers are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from geounet.card import Architecture
from geounet.compiling import QUICKLY
from geounet.machine import device_name
from geounet.unet import UNet

KINDS: dict[str, dict[str, bool]] = {"usual": {}, "quick": QUICKLY}


def measured(function: Any, arguments: tuple[Any, ...], rounds: int) -> dict[str, Any]:
    """One function both ways."""
    compiled, seconds = {}, {kind: ([], []) for kind in KINDS}
    found: dict[str, Any] = {}
    for kind, options in KINDS.items():
        started = time.monotonic()
        compiled[kind] = jax.jit(function).lower(*arguments).compile(compiler_options=options)
        found[kind] = {"compile_s": round(time.monotonic() - started, 2)}
        jax.block_until_ready(compiled[kind](*arguments))
    for _ in range(rounds):
        for kind, run in compiled.items():
            wall, processor = time.monotonic(), time.process_time()
            jax.block_until_ready(run(*arguments))
            seconds[kind][0].append(time.monotonic() - wall)
            seconds[kind][1].append(time.process_time() - processor)
    for kind, (wall, processor) in seconds.items():
        found[kind] |= {
            "run_s": round(median(wall), 3),
            "processor_s": round(median(processor), 3),
        }
    results = [jax.tree.leaves(run(*arguments)) for run in compiled.values()]
    found["same"] = all(bool((a == b).all()) for a, b in zip(*results, strict=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--base", type=int, default=16)
    args = parser.parse_args()
    arch = Architecture(depth=args.depth, base_filters=args.base, bands=6, outputs=2)
    network = UNet(arch, nnx.Rngs(0))
    network.eval()
    graph, weights, rest = nnx.split(network, nnx.Param, ...)
    rng = np.random.default_rng(0)

    def forward(weights: nnx.State, images: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights, rest)(images)

    def slopes(weights: nnx.State, images: jax.Array) -> nnx.State:
        return jax.grad(lambda w: (forward(w, images) ** 2).mean())(weights)

    print(json.dumps({"device": device_name(), **vars(args)}))
    for name, function, shape in (
        ("forward", forward, (1, 512, 512, 6)),
        ("gradient", slopes, (4, 128, 128, 6)),
    ):
        images = jnp.asarray(rng.normal(size=shape), jnp.float32)
        print(json.dumps({name: measured(function, (weights, images), args.rounds)}), flush=True)


if __name__ == "__main__":
    main()
