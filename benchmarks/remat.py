"""What rematerialisation saves: scratch memory and time of a training step, with it and without.

    python -m benchmarks.remat [--base 16] [--side 128] [--batch 4] [--rounds 3]

Memory is what XLA says that the compiled step needs beside its arguments and results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from benchmarks.forward import KINDS, in_turn
from geounet.learn.learner import Batch, Constants, Scaling, key_of, start
from geounet.learn.remat import step_of
from geounet.learn.train_settings import TrainSettings

BANDS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    lines = [
        "| network | MB | MB with remat | time with remat / without |",
        "|---|---|---|---|",
    ]
    kinds = {"plain": {}, **{name: KINDS[name] for name in ("residual", "inverted_bottleneck")}}
    for name, options in kinds.items():
        (run, memory), (again, less) = (step(args, options, remat) for remat in (False, True))
        seconds = in_turn({"without": run, "with": again}, args.rounds)
        ratio = seconds["with"] / seconds["without"]
        lines.append(f"| {name} | {memory / 1e6:.0f} | {less / 1e6:.0f} | {ratio:.2f} |")
    print("\n".join(lines))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "remat.md").write_text("\n".join(lines) + "\n")


def step(args, options: dict, remat: bool):
    """A call that takes one step, and the bytes of scratch memory that the step needs."""
    settings = settings_of(args, options, remat)
    recipe, learner = start(settings, steps=5)
    rng = np.random.default_rng(0)
    shape = (args.batch, args.side, args.side)
    batch = Batch(
        jnp.asarray(rng.normal(size=(*shape, BANDS)), jnp.float32),
        jnp.asarray(rng.integers(0, 2, shape), jnp.uint8),
    )
    constants = Constants(Scaling(jnp.zeros(BANDS), jnp.ones(BANDS)))
    compiled = step_of(remat).lower(recipe, learner, key_of(0, 0, 0), constants, batch).compile()
    state = [learner]

    def run() -> None:
        state[0], outcome = compiled(state[0], key_of(0, 0, 0), constants, batch)
        outcome.loss.block_until_ready()

    run()
    return run, compiled.memory_analysis().temp_size_in_bytes


def settings_of(args, options: dict, remat: bool) -> TrainSettings:
    classes = [
        {"value": k, "name": name, "colour": "#808080"} for k, name in enumerate(("land", "water"))
    ]
    bands = {name: k + 1 for k, name in enumerate("abcdef")}
    return TrainSettings.model_validate(
        {
            "name": "drawn",
            "classes": classes,
            "data": {"images": "*.tif", "labels": "*.png", "bands": bands},
            "network": {"base_filters": args.base, "remat": remat, **options},
            "chip": args.side,
            "batch": args.batch,
        }
    )


if __name__ == "__main__":
    main()
