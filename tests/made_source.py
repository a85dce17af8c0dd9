"""Chips drawn when asked for, from which a loop can learn: class 1 where the first band is high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geounet.learn.train_settings import TrainSettings

SIDE = 16
CLASSES = [
    {"value": 0, "name": "land", "colour": "#d8cfb4"},
    {"value": 1, "name": "water", "colour": "#1f78b4"},
]


def settings_of(**fields) -> TrainSettings:
    """A tiny network whose every part matters: batch norm, dropout, an average of weights."""
    shared = {
        "name": "tiny",
        "classes": CLASSES,
        "data": {"images": "*.tif", "labels": "*.png", "bands": {"green": 1, "swir1": 2}},
        "network": {"depth": 1, "base_filters": 2, "dropout": 0.1},
        "augment": {"gain": 0.1},
        "optimiser": {"kind": "adamw", "learning_rate": 0.02, "ema": 0.9},
        "chip": SIDE,
        "batch": 4,
        "epochs": 4,
    }
    return TrainSettings.model_validate(shared | fields)


@dataclass(frozen=True)
class MadeSource:
    """Batches drawn from (epoch, i); ``bad`` are the batches of each epoch that hold no number."""

    steps: int = 5
    size: int = 4
    held: int = 6
    bad: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.1, -0.2)
    std: tuple[float, ...] = (1.5, 0.8)
    class_counts: tuple[int, ...] = (600, 400)
    pairs: tuple[tuple[int, int], ...] = ()

    def batch(self, epoch, i):
        images, labels = chips((epoch, i), self.size)
        if i in self.bad:
            images[...] = 3e38
        return images, labels

    @property
    def validation(self):
        return list(zip(*chips((99, 99), self.held), strict=True)) if self.held else []


def chips(seed, count, side=SIDE):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, side, side, 2)).astype(np.float32)
    labels = (images[..., 0] > 0.3).astype(np.uint8)
    labels[:, 3, 5] = 255
    images[:, 0, 1] = np.nan
    return images, labels
