"""Tasks that do real harm to the process that runs them, when a certain item comes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from geounet.errors import InputError, task
from geounet.labelling import Work, label_tiles


@dataclass(frozen=True)
class Record:
    """What a task says of an item."""

    item: Any
    pid: int
    seconds: dict[str, float] = field(default_factory=lambda: {"compute": 0.2})


def die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(_: Any) -> None:
    time.sleep(600)


def exhaust(_: Any) -> None:
    # More than any machine has, asked of the allocator for real.
    np.ones(2**57, np.uint8)


def exhaust_device(_: Any) -> None:
    # XLA's own allocator refuses, with its own error.
    jnp.zeros(2**45).block_until_ready()


def torn(item: Any) -> None:
    raise InputError(f"scene.tif: {item} cannot be read; download it again")


@dataclass(frozen=True)
class Once:
    """Harm that is done the first time only: a mark in a folder tells."""

    harm: Callable[[Any], None]
    folder: str

    def __call__(self, item: Any) -> None:
        mark = Path(self.folder) / "struck"
        if not mark.exists():
            mark.touch()
            self.harm(item)


@task
def visit(
    harm: Callable[[Any], None], bad: tuple[Any, ...], items: tuple[Any, ...]
) -> list[Record]:
    """Record each item; those that are bad do harm."""
    for item in items:
        if item in bad:
            harm(item)
    time.sleep(0.05)
    return [Record(item, os.getpid()) for item in items]


@task
def label_with_harm(harm: Callable[[Any], None], bad: str, work: Work, tiles: tuple) -> list:
    """A segmentation in which the tile ``bad`` does harm."""
    for tile in tiles:
        if tile.name == bad:
            harm(tile)
    return label_tiles(work, tiles)
