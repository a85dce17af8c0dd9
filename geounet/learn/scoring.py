"""The task of an evaluation: read a tile and its labels, map it as ``segment`` does, count.

As in labelling.py, one thread of a worker computes while the others read and count. What comes
back is whole numbers, so that tiles may end in any order and give the same sums.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import rasterio
from jaxtyping import Bool, UInt8

from geounet.card import NODATA
from geounet.errors import task
from geounet.forward import DEVICE, Forward, predictor_of
from geounet.grid import Tile, Window, intersect, shape_of, shift
from geounet.learn.boundary import boundary_counts, margin
from geounet.learn.calibration import likelihood_of, reliability_of
from geounet.learn.evaluate_settings import Part
from geounet.learn.ground import Ground
from geounet.learn.label_coding import UNLABELLED
from geounet.learn.labelled import LabelledScene
from geounet.learn.metrics import confusion_of
from geounet.learn.scores import Counts, no_counts
from geounet.predict import class_index
from geounet.scene import Pixels, Scene


@dataclass(frozen=True)
class Subject:
    """A scene to be scored: ``scene`` has the model's bands, ``labelled`` the labels on its grid.

    ``part`` of the ``ground`` is compared; training ground is what a chip of ``chip`` pixels may
    hold.
    """

    scene: Scene
    labelled: LabelledScene
    ground: Ground
    part: Part
    chip: int
    forward: Forward
    cache: int

    def wanted(self, window: Window) -> Bool[np.ndarray, "row col"]:
        """The pixels of the window that are to be compared."""
        if self.part == "validation":
            return self.ground.held_out(window)
        if self.part == "training":
            return self.ground.learnable(window, self.chip)
        return np.ones(shape_of(window), bool)


@dataclass(frozen=True)
class Item:
    """One tile of the ``index``-th scene."""

    index: int
    subject: Subject
    tile: Tile


@dataclass(frozen=True)
class Scoring:
    """What is counted: for how many classes, with which tolerance, and the likelihood if asked."""

    classes: int
    tolerance: float
    likelihood: bool


@dataclass(frozen=True)
class Scored:
    """The counts of an item, its label values with their pixels, and its seconds by stage."""

    item: Item
    counts: Counts
    values: Mapping[int, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@task
def score_tiles(scoring: Scoring, items: tuple[Item, ...]) -> list[Scored]:
    """The task: the counts of some tiles' cores; each pixel of a core is compared once."""
    cache = max(item.subject.cache for item in items)
    with rasterio.Env(GDAL_CACHEMAX=cache):
        return [_score(scoring, item) for item in items]


def _score(scoring: Scoring, item: Item) -> Scored:
    clock = time.monotonic
    started = clock()
    subject, tile = item.subject, item.tile
    seen = _seen(subject.scene, tile, margin(scoring.tolerance))
    values = subject.labelled.label_values(seen)
    wanted = subject.wanted(seen)
    pixels = subject.scene.read(tile.window)
    truth = np.where(wanted, subject.labelled.coding.encode(values), np.uint8(NODATA))
    core = shift(tile.core, seen)
    unseen = (truth != NODATA) & ~pixels.valid[shift(seen, tile.window)]
    counts = no_counts(scoring.classes)
    counts["unseen"] += unseen[core].sum()
    truth[unseen] = NODATA
    read, wait, computed = clock(), 0.0, 0.0
    if (truth[core] != NODATA).any():
        with DEVICE:
            begun = clock()
            found = _compute(scoring, item, pixels, truth, seen)
        wait, computed = begun - read, clock() - begun
        counts |= _compare(scoring, truth, core, found)
    seconds = {"read": read - started, "wait": wait, "compute": computed}
    seconds["count"] = clock() - read - wait - computed
    return Scored(item, counts, _tally(values[core], wanted[core]), seconds)


def _seen(scene: Scene, tile: Tile, around: int) -> Window:
    """The core and what of its margin lies in the scene; the plan's halo covers it."""
    rows, cols = (slice(s.start - around, s.stop + around) for s in tile.core)
    seen = intersect((rows, cols), scene.grid.whole)
    assert seen is not None
    return seen


def _compute(
    scoring: Scoring, item: Item, pixels: Pixels, truth: UInt8[np.ndarray, "row col"], seen: Window
) -> dict[str, np.ndarray]:
    """What the network says of ``seen``, as arrays of this machine's memory."""
    predictor = predictor_of(item.subject.forward)
    logits = predictor.logits(pixels.bands, pixels.valid)
    place = shift(seen, item.tile.window)
    found = {
        "mapped": np.asarray(class_index(logits)).astype(np.uint8)[place],
        "confidence": np.asarray(predictor.probabilities(logits).max(axis=-1))[place],
    }
    if scoring.likelihood:
        core = np.full(pixels.valid.shape, NODATA, np.uint8)
        core[item.tile.crop] = truth[shift(item.tile.core, seen)]
        found["likelihood"] = likelihood_of(logits, core)
    return found


def _compare(
    scoring: Scoring,
    truth: UInt8[np.ndarray, "row col"],
    core: Window,
    found: Mapping[str, np.ndarray],
) -> Counts:
    mapped, known = found["mapped"], truth[core] != NODATA
    correct = (mapped == truth)[core][known]
    counts = {
        "confusion": confusion_of(truth[core], mapped[core], scoring.classes),
        "reliability": reliability_of(found["confidence"][core][known], correct),
        "boundary": boundary_counts(truth, mapped, scoring.classes, scoring.tolerance, core),
    }
    return counts | ({"likelihood": found["likelihood"]} if scoring.likelihood else {})


def _tally(values: np.ndarray, wanted: Bool[np.ndarray, "row col"]) -> dict[int, int]:
    found, pixels = np.unique(values[wanted & (values != UNLABELLED)], return_counts=True)
    return dict(zip(found.tolist(), pixels.tolist(), strict=True))
