"""What the compiler options that we ask for on a CPU save, and whether they cost anything.

    python -m benchmarks.compiling [--base 16] [--side 128] [--batch 4] [--rounds 9]

The first weights of a training, its step, and a forward, compiled with and without them, and with
all but the one that keeps XLA from YNNPACK, and run in turn. Printed: seconds to compile, median
wall and processor seconds of a run, and whether all numbers are those without them (they may differ
in the last digits).
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from inspect import unwrap
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.remat import BANDS, settings_of
from geounet.compiling import ON_CPU, Options
from geounet.learn.learner import Batch, Constants, Scaling, key_of, start, take_step
from geounet.machine import device_name
from geounet.unet import UNet

YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
KINDS: dict[str, Options] = {
    "usual": {},
    "ours": ON_CPU,
    "with_ynnpack": {name: value for name, value in ON_CPU.items() if name != YNNPACK},
}


def measured(function: Any, arguments: tuple[Any, ...], rounds: int) -> dict[str, Any]:
    """One function both ways."""
    compiled, found = {}, {}
    for kind, options in KINDS.items():
        lowered = jax.jit(function).lower(*arguments)
        started = time.monotonic()
        compiled[kind] = lowered.compile(compiler_options=options)
        found[kind] = {"compile_s": round(time.monotonic() - started, 2)}
        jax.block_until_ready(compiled[kind](*arguments))
    seconds = {kind: ([], []) for kind in KINDS}
    for _ in range(rounds):
        for kind, run in compiled.items():
            wall, processor = time.monotonic(), time.process_time()
            jax.block_until_ready(run(*arguments))
            seconds[kind][0].append(time.monotonic() - wall)
            seconds[kind][1].append(time.process_time() - processor)
    usual = numbers(compiled["usual"](*arguments))
    for kind, (wall, processor) in seconds.items():
        pairs = zip(usual, numbers(compiled[kind](*arguments)), strict=True)
        found[kind] |= {
            "run_s": round(median(wall), 3),
            "processor_s": round(median(processor), 3),
            "same": all(np.array_equal(a, b) for a, b in pairs),
        }
    return found


def numbers(result: Any) -> list[np.ndarray]:
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(result)
    ]


def programs(args) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Each with its arguments."""
    settings = settings_of(args, {}, remat=False)
    recipe, learner = start(settings, steps=5)
    rng = np.random.default_rng(0)
    shape = (args.batch, args.side, args.side)
    images = jnp.asarray(rng.normal(size=(*shape, BANDS)), jnp.float32)
    batch = Batch(images, jnp.asarray(rng.integers(0, 2, shape), jnp.uint8))
    constants = Constants(Scaling(jnp.zeros(BANDS), jnp.ones(BANDS)))
    network = UNet(settings.architecture, nnx.Rngs(0))
    network.eval()
    graph, state = nnx.split(network)
    scene = jnp.asarray(rng.normal(size=(1, 4 * args.side, 4 * args.side, BANDS)), jnp.float32)
    return {
        "weights": (lambda: nnx.state(UNet(settings.architecture, nnx.Rngs(0))), ()),
        "forward": (lambda state, x: nnx.merge(graph, state)(x), (state, scene)),
        "step": (
            partial(unwrap(take_step), recipe),
            (learner, key_of(0, 0, 0), constants, batch),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    print(json.dumps({"device": device_name(), **vars(args)}))
    for name, (function, arguments) in programs(args).items():
        print(json.dumps({name: measured(function, arguments, args.rounds)}), flush=True)


if __name__ == "__main__":
    main()
