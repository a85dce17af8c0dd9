"""One training step against PyTorch: the same network, weights, batch, loss and optimiser.

    python -m benchmarks.train_step [--base 16 --base 32] [--batch 8] [--side 128] [--rounds 7]
        [--steps 1] [--bf16] [--compile]

A plain U-Net of depth 4 without batch norm, cross-entropy + Dice on one output, the gradient cut to
length 1, Adam. Both take the same steps in turn, in one process, each on the GPU that it has or
else with all cores, and their losses must agree. PyTorch runs eagerly or with ``--compile`` by
``torch.compile``, in its default memory layout and in ``channels_last``; the ratio is to the faster
of the two. With ``--bf16`` both networks compute in bfloat16: ours by ``precision: bf16``,
PyTorch's by its autocast. A round is ``--steps`` steps, after which the device is waited for. Ours
includes what a step of training does besides: a check that all is finite, the average of the
weights, and no augmentation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as f

from geounet.learn.learner import (
    Batch,
    Constants,
    Scaling,
    key_of,
    network_of,
    start,
    take_step,
)
from geounet.learn.train_settings import TrainSettings
from geounet.machine import device_name
from tests.torch_unet import TorchUNet

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
STEPS = 100
RATE = 1e-3
AGREE, AGREE_ROUGHLY = 2e-3, 5e-2
"""How far losses may differ: in float32 on a CPU, and in bfloat16 or a GPU's TF32."""


@dataclass(frozen=True)
class How:
    """What is timed."""

    batch: int
    side: int
    rounds: int
    steps: int
    bf16: bool
    compile: bool

    @property
    def agreement(self) -> float:
        rough = self.bf16 or torch_device() != "cpu" or jax.default_backend() != "cpu"
        return AGREE_ROUGHLY if rough else AGREE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=int, action="append")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    how = How(args.batch, args.side, args.rounds, args.steps, args.bf16, args.compile)
    lines = [
        f"{how}: geounet on {device_name()}, PyTorch on {torch_device()}; /s are samples",
        "",
        "| base filters | geounet, s | PyTorch, s | ratio | geounet, /s | PyTorch, /s |",
        "|---|---|---|---|---|---|",
    ]
    for base in args.base or (16, 32):
        seconds = measured(base, how)
        ours, rival = seconds["geounet"], min(seconds["torch"], seconds["channels_last"])
        row = [f"{base}", f"{ours:.4g}", f"{rival:.4g}", f"{ours / rival:.2f}"]
        row += [f"{how.batch / ours:.4g}", f"{how.batch / rival:.4g}"]
        lines.append(f"| {' | '.join(row)} |")
    print("\n".join(lines))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train_step.md").write_text("\n".join(lines) + "\n")


def measured(base: int, how: How) -> dict[str, float]:
    """Median seconds of a step; those of the first round, which compiles, are not counted."""
    settings = settings_of(base, how)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(how.batch, how.side, how.side, len(BANDS))).astype(np.float32)
    labels = (images[..., 0] + images[..., 3] > 0.5).astype(np.uint8)
    recipe, learner = start(settings, STEPS)
    network = network_of(recipe, learner)
    runs = {
        "geounet": Ours(recipe, learner, images, labels),
        "torch": Rival(network, images, labels, torch.contiguous_format, how),
        "channels_last": Rival(network, images, labels, torch.channels_last, how),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(how.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(how.steps):
                run.step()
            losses[name].append(run.settled())
            seconds[name].append((time.perf_counter() - began) / how.steps)
    for name in ("torch", "channels_last"):
        np.testing.assert_allclose(
            losses[name], losses["geounet"], rtol=how.agreement, err_msg=name
        )
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def torch_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def settings_of(base: int, how: How) -> TrainSettings:
    network = {"depth": 4, "base_filters": base, "batch_norm": False, "dropout": 0}
    classes = [
        {"value": value, "name": name, "colour": "#000000"}
        for value, name in enumerate(("land", "water"))
    ]
    return TrainSettings.model_validate(
        {
            "name": "step",
            "classes": classes,
            "data": {"images": "-", "labels": "-", "bands": list(BANDS)},
            "network": network,
            "augment": {"symmetries": False},
            "optimiser": {"learning_rate": RATE, "warmup_epochs": 0, "schedule": "constant"},
            "chip": how.side,
            "batch": how.batch,
            "epochs": 1,
            "precision": "bf16" if how.bf16 else "f32",
        }
    )


class Ours:
    """``step`` takes one; ``settled`` waits for the device, and gives the last loss."""

    def __init__(self, recipe, learner, images, labels) -> None:
        self._recipe, self._learner = recipe, learner
        bands = images.shape[-1]
        self._constants = Constants(Scaling(jnp.zeros(bands), jnp.ones(bands)))
        self._batch = Batch(jnp.asarray(images), jnp.asarray(labels))

    def step(self) -> None:
        key = key_of(0, 0, 0)
        self._learner, self._outcome = take_step(
            self._recipe, self._learner, key, self._constants, self._batch
        )

    def settled(self) -> float:
        jax.block_until_ready(self._learner)
        return float(self._outcome.loss)


class Rival:
    """The same in PyTorch."""

    def __init__(self, network, images, labels, layout, how: How) -> None:
        self._device, self._bf16 = torch_device(), how.bf16
        self._net = TorchUNet(network).to(self._device, memory_format=layout)
        tiles = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
        self._images = tiles.contiguous(memory_format=layout)
        self._labels = torch.from_numpy(labels.astype(np.int64)).to(self._device)
        self._adam = torch.optim.Adam(self._net.parameters(), lr=RATE)
        self._run = torch.compile(self._net) if how.compile else self._net

    def step(self) -> None:
        self._adam.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bf16):
            logits = self._run(self._images)
        self._loss = cross_entropy_and_dice(logits.float(), self._labels)
        self._loss.backward()
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._adam.step()

    def settled(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return float(self._loss.detach())


def cross_entropy_and_dice(logits, labels):
    scores = torch.cat([torch.zeros_like(logits), logits], dim=1)
    shares, truth = scores.softmax(dim=1), f.one_hot(labels, 2).permute(0, 3, 1, 2).float()
    hits = (shares * truth).sum(dim=(0, 2, 3))
    dice = 1 - 2 * hits / (shares + truth).sum(dim=(0, 2, 3))
    return f.cross_entropy(scores, labels) + dice.mean()


if __name__ == "__main__":
    main()
