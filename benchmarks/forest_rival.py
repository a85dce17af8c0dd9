"""The ResNet18 U-Net of segmentation_models.pytorch on the folds of ``forest``, for as long.

    pip install segmentation-models-pytorch      (never a dependency of geounet)
    python -m benchmarks.forest_rival --data forest_amazon --out OUT

``OUT`` is that of ``benchmarks.crossval forest``: each fold holds out the same scenes, and the
rival trains for the processor time that our training of the fold took. It starts from drawn
weights, as ours does, and learns from crops of 256 pixels, eight in a batch: flips and turns, gain
and offset, cross-entropy + Dice, AdamW with warm-up and a cosine over its time. A held-out scene is
mapped whole. A fold that is finished is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.crossval import CONFIGS, folds_of
from geounet.atomic import write_bytes
from geounet.learn import metrics
from geounet.learn.labelled import LabelledScene, open_labelled
from geounet.learn.splits import grounds_of
from geounet.learn.train_settings import TrainSettings, load_settings

SIDE, BATCH, RATE, WARMUP = 256, 8, 2e-3, 0.1
Scenes = list[tuple[np.ndarray, np.ndarray]]


def scenes_of(settings: TrainSettings) -> tuple[Scenes, Scenes]:
    """Images and labels to learn from, and those held out."""
    labelled = open_labelled(settings.data, settings.classes)
    grounds = grounds_of(labelled, settings)
    learnt, held = Scenes(), Scenes()
    for scene, ground in zip(labelled, grounds, strict=True):
        (held if ground.validation else learnt).append(_read(scene))
    return learnt, held


def _read(scene: LabelledScene) -> tuple[np.ndarray, np.ndarray]:
    image, labels = scene.read(scene.grid.whole)
    return image[..., :3], labels.astype(np.int64)


def draw(scenes: Scenes, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of turned and relit crops."""
    images, labels = [], []
    for _ in range(BATCH):
        image, truth = scenes[rng.integers(len(scenes))]
        row, col = (int(rng.integers(n - SIDE + 1)) for n in truth.shape)
        crop = (slice(row, row + SIDE), slice(col, col + SIDE))
        turns = int(rng.integers(4))
        x, y = (np.rot90(part[crop], turns) for part in (image, truth))
        if rng.random() < 0.5:
            x, y = x[:, ::-1], y[:, ::-1]
        images.append(x * np.exp(rng.uniform(-0.1, 0.1)) + rng.uniform(-0.03, 0.03))
        labels.append(y)
    x = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(np.stack(labels).copy())


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy + Dice, as ours."""
    shares = logits.softmax(1)
    truth = torch.nn.functional.one_hot(labels, shares.shape[1]).permute(0, 3, 1, 2)
    hits = (shares * truth).sum((0, 2, 3))
    sizes = (shares + truth).sum((0, 2, 3))
    return torch.nn.functional.cross_entropy(logits, labels) + (1 - 2 * hits / sizes).mean()


def train(scenes: Scenes, seconds: float, classes: int) -> tuple[torch.nn.Module, int]:
    """A network trained for so much processor time, and its steps."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pixels = np.concatenate([image.reshape(-1, 3) for image, _ in scenes])
    mean, std = pixels.mean(axis=0)[:, None, None], pixels.std(axis=0)[:, None, None]
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=classes)
    network.mean, network.std = torch.from_numpy(mean), torch.from_numpy(std)
    network = network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    began, steps = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        rate = share / WARMUP if share < WARMUP else 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = RATE * max(rate, 0.01)
        images, labels = draw(scenes, rng)
        optimiser.zero_grad()
        loss_of(network((images - network.mean) / network.std), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        steps += 1
    return network.eval(), steps


@torch.no_grad()
def confusion_of(network: torch.nn.Module, scenes: Scenes, classes: int) -> np.ndarray:
    """Pixels by (truth, mapped) over whole scenes."""
    total = np.zeros((classes, classes), np.int64)
    for image, labels in scenes:
        x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
        mapped = network((x - network.mean) / network.std).argmax(1)[0].numpy()
        total += metrics.confusion_of(labels.astype(np.uint8), mapped.astype(np.uint8), classes)
    return total


def run(settings: Sequence[TrainSettings], out: Path, numbers: Sequence[int]) -> np.ndarray:
    """The pooled confusion matrix of those folds that ours has finished."""
    total = np.zeros((2, 2), np.int64)
    for number, fold in enumerate(settings, 1):
        ours, done = out / f"fold{number}" / "fold.json", out / f"fold{number}" / "rival.json"
        if number not in numbers or not ours.exists():
            continue
        if not done.exists():
            learnt, held = scenes_of(fold)
            seconds = json.loads(ours.read_text())["cpu_seconds"]
            network, steps = train(learnt, seconds, len(fold.classes))
            confusion = confusion_of(network, held, len(fold.classes)).tolist()
            fields = {"confusion": confusion, "steps": steps, "cpu_seconds": seconds}
            write_bytes(done, json.dumps(fields).encode())
        fields = json.loads(done.read_text())
        total += np.array(fields["confusion"])
        scores = metrics.iou(np.array(fields["confusion"]))
        print(f"fold {number}: {fields['steps']} steps, macro IoU {scores.mean():.4f}", flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of forest_amazon")
    parser.add_argument("--out", type=Path, required=True, help="that of benchmarks.crossval")
    parser.add_argument("--folds", type=int, nargs="*", help="only these, from 1")
    args = parser.parse_args()
    settings = folds_of(load_settings(CONFIGS / "forest.yaml", args.data), None)
    total = run(settings, args.out, args.folds or range(1, len(settings) + 1))
    print(f"pooled: macro IoU {metrics.iou(total).mean():.4f}, F1 {metrics.f1(total).mean():.4f}")


if __name__ == "__main__":
    main()
