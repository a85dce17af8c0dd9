"""The task of a mosaic: map a tile in every scene that lies there, and keep one class a pixel."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from geounet.grid import Tile, Window, intersect
from geounet.labelling import Label, by_confidence, label_tile, tally
from geounet.scene import Scene
from geounet.settings import Overlap
from geounet.store import Layers, TileRecord, TileStore


@dataclass(frozen=True)
class MosaicWork:
    """All that a worker needs to map any tile: small, and picklable.

    ``extents`` is where each scene lies on the grid that they share.
    """

    scenes: tuple[Scene, ...]
    extents: tuple[Window, ...]
    forwards: tuple[Forward, ...]
    overlap: Overlap
    store: str
    cache: int
    aoi: bytes | None = None


@task
def mosaic_tiles(work: MosaicWork, tiles: tuple[Tile, ...]) -> list[TileRecord]:
    """The task: read, label, choose and store some tiles; returns their records."""
    store = TileStore(work.store)
    area = shapely.from_wkb(work.aoi) if work.aoi else None
    labels = [partial(predictor_of(forward), confidence=True) for forward in work.forwards]
    with rasterio.Env(GDAL_CACHEMAX=work.cache):
        return [_map_and_store(work, tile, labels, store, area) for tile in tiles]


_SURE = 100


class Chosen:
    """One class a pixel, of scenes that come one after the other.

    Where they overlap, ``confident`` keeps the class that its network is surest of, and of equal
    ones the first; ``first`` keeps that of the first scene that has data.
    """

    def __init__(self, shape: tuple[int, int], overlap: Overlap) -> None:
        self._overlap = overlap
        self.mask = np.full(shape, NODATA, np.uint8)
        self.confidence = np.full(shape, NODATA, np.uint8)

    def may_take(self, seen: np.ndarray) -> bool:
        """False if a scene that sees these pixels cannot change one."""
        return bool((seen & self._open).any())

    def add(self, layers: Layers) -> None:
        """Look at another scene's mask and confidence, NODATA where it has none."""
        empty = self.mask == NODATA
        taken = (layers["mask"] != NODATA) & (empty | self._surer(layers["confidence"]))
        self.mask[taken] = layers["mask"][taken]
        self.confidence[taken] = layers["confidence"][taken]

    @property
    def _open(self) -> np.ndarray:
        """Pixels without a class; with ``confident`` also those of which one could be surer."""
        return (self.mask == NODATA) | self._surer(np.uint8(_SURE))

    def _surer(self, confidence: np.ndarray | np.uint8) -> np.ndarray:
        if self._overlap == "first":
            return np.zeros(self.mask.shape, bool)
        return confidence > self.confidence


def _map_and_store(
    work: MosaicWork,
    tile: Tile,
    labels: Sequence[Label],
    store: TileStore,
    area: shapely.Geometry | None,
) -> TileRecord:
    clock = time.monotonic
    seconds = dict.fromkeys(("read", "wait", "compute", "write"), 0.0)
    grid = work.scenes[0].grid[tile.core]
    wanted = np.ones(grid.shape, bool) if area is None else inside(area, grid)
    chosen, hidden = Chosen(grid.shape, work.overlap), np.zeros(grid.shape, bool)
    # One scene after the other, so that memory does not grow with their number.
    for scene, extent, label in zip(work.scenes, work.extents, labels, strict=True):
        if intersect(tile.core, extent) is None:
            continue
        started = clock()
        pixels = scene.read(tile.window)
        seen = pixels.valid[tile.crop] & wanted
        hidden |= pixels.hidden[tile.crop] & wanted
        read = clock()
        with DEVICE:
            begun = clock()
            if chosen.may_take(seen):
                chosen.add(label_tile(pixels, tile, seen, label))
        spent = {"read": read - started, "wait": begun - read, "compute": clock() - begun}
        seconds |= {stage: seconds[stage] + spent[stage] for stage in spent}
    started, mask = clock(), chosen.mask
    layers = {"mask": mask, "confidence": chosen.confidence}
    digest = store.put(tile.name, layers) if (mask != NODATA).any() else ""
    metres = PixelArea(work.scenes[0].grid).window(tile.core)
    counts, areas = tally(mask, hidden & (mask == NODATA), metres)
    seconds |= {"write": clock() - started}
    return TileRecord(
        tile.name, digest, counts, areas, by_confidence(mask, chosen.confidence), seconds
    )
