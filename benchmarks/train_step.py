"""One training step against PyTorch: the same network, weights, batch, loss and optimiser.

    python -m benchmarks.train_step [--base 16 --base 32] [--batch 8] [--side 128] [--rounds 7]

A plain U-Net of depth 4 without batch norm, cross-entropy + Dice on one output, the gradient cut to
length 1, Adam. Both take the same steps in turn, in one process and with all cores, and their
losses must agree. PyTorch runs eagerly, in its default memory layout and in ``channels_last``; the
ratio is to the faster of the two. Ours includes what a step of training does besides: a check that
all is finite, the average of the weights, and no augmentation.
"""

from __future__ import annotations

import argparse
import statistics
import time
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
from tests.torch_unet import TorchUNet

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
STEPS = 100
RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=int, action="append")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    lines = ["| base filters | geounet, s | PyTorch, s | ratio |", "|---|---|---|---|"]
    for base in args.base or (16, 32):
        seconds = measured(base, args.batch, args.side, args.rounds)
        ours, rival = seconds["geounet"], min(seconds["torch"], seconds["channels_last"])
        lines.append(f"| {base} | {ours:.3f} | {rival:.3f} | {ours / rival:.2f} |")
    print("\n".join(lines))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train_step.md").write_text("\n".join(lines) + "\n")


def measured(base: int, batch: int, side: int, rounds: int) -> dict[str, float]:
    """Median seconds of a step; the first, which compiles, is not counted."""
    settings = settings_of(base, batch, side)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, side, side, len(BANDS))).astype(np.float32)
    labels = (images[..., 0] + images[..., 3] > 0.5).astype(np.uint8)
    recipe, learner = start(settings, STEPS)
    network = network_of(recipe, learner)
    runs = {
        "geounet": Ours(recipe, learner, images, labels),
        "torch": Rival(network, images, labels, torch.contiguous_format),
        "channels_last": Rival(network, images, labels, torch.channels_last),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            losses[name].append(run())
            seconds[name].append(time.perf_counter() - began)
    for name in ("torch", "channels_last"):
        np.testing.assert_allclose(losses[name], losses["geounet"], rtol=2e-3, err_msg=name)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def settings_of(base: int, batch: int, side: int) -> TrainSettings:
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
            "chip": side,
            "batch": batch,
            "epochs": 1,
        }
    )


class Ours:
    """A step each time it is called; returns the loss."""

    def __init__(self, recipe, learner, images, labels) -> None:
        self._recipe, self._learner = recipe, learner
        bands = images.shape[-1]
        self._constants = Constants(Scaling(jnp.zeros(bands), jnp.ones(bands)))
        self._batch = Batch(jnp.asarray(images), jnp.asarray(labels))

    def __call__(self) -> float:
        key = key_of(0, 0, 0)
        self._learner, outcome = take_step(
            self._recipe, self._learner, key, self._constants, self._batch
        )
        jax.block_until_ready(self._learner)
        return float(outcome.loss)


class Rival:
    """The same in PyTorch."""

    def __init__(self, network, images, labels, layout) -> None:
        self._net = TorchUNet(network).to(memory_format=layout)
        self._images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        self._labels = torch.from_numpy(labels.astype(np.int64))
        self._adam = torch.optim.Adam(self._net.parameters(), lr=RATE)

    def __call__(self) -> float:
        self._adam.zero_grad(set_to_none=True)
        loss = cross_entropy_and_dice(self._net(self._images), self._labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._adam.step()
        return float(loss.detach())


def cross_entropy_and_dice(logits, labels):
    scores = torch.cat([torch.zeros_like(logits), logits], dim=1)
    shares, truth = scores.softmax(dim=1), f.one_hot(labels, 2).permute(0, 3, 1, 2).float()
    hits = (shares * truth).sum(dim=(0, 2, 3))
    dice = 1 - 2 * hits / (shares + truth).sum(dim=(0, 2, 3))
    return f.cross_entropy(scores, labels) + dice.mean()


if __name__ == "__main__":
    main()
