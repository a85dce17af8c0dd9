"""The task of a change: read a tile at every date, run the network on each, and compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rasterio
import shapely

from geounet.ancillary import Ancillary
from geounet.aoi import inside
from geounet.area import PixelArea
from geounet.card import NODATA
from geounet.change_rules import ChangeRule, Seen, is_mapped
from geounet.errors import task
from geounet.forward import DEVICE, Forward, predictor_of
from geounet.grid import Tile
from geounet.labelling import by_confidence, tally
from geounet.scene import Pixels, Scene
from geounet.store import TileRecord, TileStore

Share = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From (bands, valid) of a window to the probability of what is looked for."""


@dataclass(frozen=True)
class ChangeWork:
    """All that a worker needs to compare any tile: small, and picklable.

    ``scenes`` and ``forwards`` have one entry a date; ``target`` are the network's classes that
    count.
    """

    scenes: tuple[Scene, ...]
    forwards: tuple[Forward, ...]
    target: tuple[int, ...]
    rule: ChangeRule
    ancillary: Ancillary | None
    store: str
    cache: int
    aoi: bytes | None = None


def hidden_key(date: int, of_target: bool = False) -> str:
    """What a tile's record calls the pixels of a date that a mask hides, or those of the class."""
    return f"hidden {'target ' if of_target else ''}{date}"


@task
def compare_tiles(work: ChangeWork, tiles: tuple[Tile, ...]) -> list[TileRecord]:
    """The task: read, compare and store some tiles; returns their records."""
    store = TileStore(work.store)
    area = shapely.from_wkb(work.aoi) if work.aoi else None
    shares = [_share_of(forward, work.target) for forward in work.forwards]
    with rasterio.Env(GDAL_CACHEMAX=work.cache):
        return [_compare_and_store(work, tile, shares, store, area) for tile in tiles]


def _share_of(forward: Forward, target: tuple[int, ...]) -> Share:
    predictor = predictor_of(forward)

    def share(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
        # Not the rounded bytes of ``probabilities``: a label hangs on what is near the threshold.
        probable = np.asarray(predictor.probabilities(predictor.logits(bands, valid)))
        return probable[..., list(target)].sum(axis=-1, dtype=np.float32)

    return share


@dataclass(frozen=True)
class _Date:
    """What one date says of a tile's core.

    ``beneath`` is what the network sees where a mask hides: in tiles that it touches, a second pass
    with the mask lifted, as the answer beside a mask depends on it, and the map's must stay.
    """

    share: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray
    beneath: np.ndarray


def _compare_and_store(
    work: ChangeWork,
    tile: Tile,
    shares: list[Share],
    store: TileStore,
    area: shapely.Geometry | None,
) -> TileRecord:
    clock = time.monotonic
    started, seconds = clock(), dict.fromkeys(("read", "wait", "compute", "write"), 0.0)
    grid = work.scenes[0].grid
    wanted = np.ones(grid[tile.core].shape, bool)
    if area is not None:
        wanted = inside(area, grid[tile.core])
    marked = work.ancillary.marks(grid, tile.core) if work.ancillary else None
    dates = []
    # One date after the other, so that memory does not grow with their number.
    for scene, share in zip(work.scenes, shares, strict=True):
        pixels = scene.read(tile.window)
        read = clock()
        with DEVICE:
            begun = clock()
            dates.append(_see(pixels, tile, share, wanted))
        spent = {"read": read - started, "wait": begun - read, "compute": clock() - begun}
        seconds |= {stage: seconds[stage] + spent[stage] for stage in spent}
        started = clock()
    valid = np.stack([date.valid for date in dates])
    labels, score = work.rule(Seen(np.stack([date.share for date in dates]), valid, marked))
    some = bool((labels != NODATA).any())
    digest = store.put(tile.name, {"mask": labels, "confidence": score}) if some else ""
    metres = PixelArea(grid).window(tile.core)
    counts, areas = _tally(labels, dates, metres, work.rule.threshold)
    seconds |= {"write": clock() - started}
    return TileRecord(tile.name, digest, counts, areas, by_confidence(labels, score), seconds)


def _see(pixels: Pixels, tile: Tile, share: Share, wanted: np.ndarray) -> _Date:
    crop = tile.crop
    valid, hidden = pixels.valid[crop] & wanted, pixels.hidden[crop] & wanted
    nothing = np.zeros(wanted.shape, np.float32)
    return _Date(
        share(pixels.bands, pixels.valid)[crop] if valid.any() else nothing,
        valid,
        hidden,
        share(pixels.bands, pixels.valid | pixels.hidden)[crop] if hidden.any() else nothing,
    )


def _tally(
    mask: np.ndarray, dates: list[_Date], metres: np.ndarray, threshold: float
) -> tuple[dict[str, int], dict[str, float]]:
    """Pixels and square metres of each class, of what masks took from the map, and of each date."""
    known = np.stack([date.valid | date.hidden for date in dates])
    counts, areas = tally(mask, is_mapped(known) & (mask == NODATA), metres)
    for number, date in enumerate(dates):
        for of_target in (False, True):
            part = date.hidden & (date.beneath >= threshold) if of_target else date.hidden
            if part.any():
                counts[hidden_key(number, of_target)] = int(part.sum())
                areas[hidden_key(number, of_target)] = float(metres[part].sum())
    return counts, areas
