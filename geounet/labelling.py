"""The task of a segmentation: read a tile, label it, store it.

While one thread of a worker computes, the others read and write: see engine.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import rasterio
import shapely

from geounet.aoi import inside
from geounet.area import PixelArea
from geounet.card import NODATA
from geounet.errors import task
from geounet.forward import DEVICE, Forward, predictor_of
from geounet.grid import Tile
from geounet.scene import Pixels, Scene
from geounet.store import HIDDEN, Layers, TileRecord, TileStore

Label = Callable[[np.ndarray, np.ndarray], Layers]


@dataclass(frozen=True)
class Work:
    """All that a worker needs to label any tile of a job: small, and picklable."""

    scene: Scene
    forward: Forward
    layers: tuple[str, ...]
    store: str
    cache: int
    aoi: bytes | None = None


@task
def label_tiles(work: Work, tiles: tuple[Tile, ...]) -> list[TileRecord]:
    """The task: read, label and store some tiles; returns their records."""
    store = TileStore(work.store)
    area = shapely.from_wkb(work.aoi) if work.aoi else None
    label = _labeller(work)
    with rasterio.Env(GDAL_CACHEMAX=work.cache):
        return [_label_and_store(work, tile, label, store, area) for tile in tiles]


def label_tile(pixels: Pixels, tile: Tile, keep: np.ndarray, label: Label) -> Layers:
    """The layers of a tile's core: NODATA where ``keep``, of the core's shape, is False.

    ``label`` is any function from (bands, valid) of a window to uint8 layers of the window.
    """
    layers = label(pixels.bands, pixels.valid)
    return {name: masked(layer[tile.crop], keep) for name, layer in layers.items()}


_STEPS = 20


def _label_and_store(
    work: Work, tile: Tile, label: Label, store: TileStore, area: shapely.Geometry | None
) -> TileRecord:
    clock = time.monotonic
    started = clock()
    pixels = work.scene.read(tile.window)
    wanted = True if area is None else inside(area, work.scene.grid[tile.core])
    # The area of interest masks what comes out, never what goes in: inside it, the map is the
    # full map.
    keep = pixels.valid[tile.crop] & wanted
    hidden = pixels.hidden[tile.crop] & wanted
    read = clock()
    with DEVICE:
        begun = clock()
        layers = label_tile(pixels, tile, keep, label) if keep.any() else {}
        computed = clock()
    digest = store.put(tile.name, layers) if layers else ""
    mask = layers.get("mask", np.full(keep.shape, NODATA, np.uint8))
    counts, areas = tally(mask, hidden, PixelArea(work.scene.grid).window(tile.core))
    seconds = {
        "read": read - started,
        "wait": begun - read,
        "compute": computed - begun,
        "write": clock() - computed,
    }
    confidence = by_confidence(mask, layers.get("confidence"))
    return TileRecord(tile.name, digest, counts, areas, confidence, seconds)


def _labeller(work: Work) -> Label:
    return partial(
        predictor_of(work.forward),
        confidence="confidence" in work.layers,
        probabilities="probabilities" in work.layers,
    )


def masked(layer: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """NODATA where ``valid`` is False."""
    keep = valid if layer.ndim == 2 else valid[:, :, None]
    return np.where(keep, layer, np.uint8(NODATA))


def tally(
    mask: np.ndarray, hidden: np.ndarray, area: np.ndarray
) -> tuple[dict[str, int], dict[str, float]]:
    """Pixels and square metres of each class value, and of what a mask hides."""
    pixels = np.bincount(mask.ravel(), minlength=NODATA + 1)
    metres = np.bincount(mask.ravel(), weights=area.ravel(), minlength=NODATA + 1)
    present = [value for value in np.flatnonzero(pixels).tolist() if value != NODATA]
    counts = {str(value): int(pixels[value]) for value in present}
    areas = {str(value): float(metres[value]) for value in present}
    if hidden.any():
        counts[HIDDEN] = int(hidden.sum())
        areas[HIDDEN] = float(area[hidden].sum())
    return counts, areas


def by_confidence(mask: np.ndarray, percent: np.ndarray | None) -> dict[str, list[int]]:
    """Pixels of each class value, in 20 steps of confidence; none where it was not asked for."""
    if percent is None:
        return {}
    # 100 % belongs to the last step.
    step = np.minimum(percent // 5, _STEPS - 1)
    counts = np.bincount(
        mask.ravel().astype(np.int64) * _STEPS + step.ravel(), minlength=NODATA * _STEPS
    )
    table = counts[: NODATA * _STEPS].reshape(NODATA, _STEPS)
    return {str(value): table[value].tolist() for value in np.flatnonzero(table.any(axis=1))}
