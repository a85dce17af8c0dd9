"""The task of a change: read a tile at every date, run the network on each, and compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely

from geounet.ancillary import Ancillary
from geounet.aoi import inside
from geounet.area import PixelArea
from geounet.card import NODATA
from geounet.change_rules import ChangeRule, Seen, is_mapped
from geounet.errors import GeounetError
from geounet.forward import DEVICE, Forward, predictor_of
from geounet.grid import Grid, Tile
from geounet.labelling import masked, tally
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


def compare_tiles(work: ChangeWork, tiles: tuple[Tile, ...]) -> list[TileRecord]:
    """The task: read, compare and store some tiles; returns their records."""
    store = TileStore(Path(work.store))
    area = shapely.from_wkb(work.aoi) if work.aoi else None
    try:
        shares = [_share_of(forward, work.target) for forward in work.forwards]
        with rasterio.Env(GDAL_CACHEMAX=work.cache):
            return [_compare_and_store(work, tile, shares, store, area) for tile in tiles]
    except GeounetError as error:
        failure = type(error)(str(error))
    # Raised anew, without its causes: Dask pickles those too, and GDAL's cannot be read back.
    raise failure


def _share_of(forward: Forward, target: tuple[int, ...]) -> Share:
    predictor = predictor_of(forward)

    def share(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
        # Not the rounded bytes of ``probabilities``: a label hangs on what is near the threshold.
        probable = np.asarray(predictor.probabilities(predictor.logits(bands, valid)))
        return probable[..., list(target)].sum(axis=-1, dtype=np.float32)

    return share


def _compare_and_store(
    work: ChangeWork,
    tile: Tile,
    shares: list[Share],
    store: TileStore,
    area: shapely.Geometry | None,
) -> TileRecord:
    clock = time.monotonic
    started = clock()
    grid = work.scenes[0].grid
    dates = [scene.read(tile.window) for scene in work.scenes]
    wanted = np.ones(grid[tile.core].shape, bool)
    if area is not None:
        wanted = inside(area, grid[tile.core])
    marked = work.ancillary.marks(grid, tile.core) if work.ancillary else None
    read = clock()
    with DEVICE:
        begun = clock()
        seen, beneath = _see(dates, tile, shares, wanted)
        computed = clock()
    labels, score = work.rule(Seen(seen.share, seen.valid, marked))
    layers = {"mask": labels, "confidence": score}
    layers = {name: masked(layer, wanted) for name, layer in layers.items()}
    some = bool((layers["mask"] != NODATA).any())
    digest = store.put(tile.name, layers) if some else ""
    counts, areas = _tally(layers["mask"], dates, beneath, (grid, tile, wanted), work.rule)
    seconds = {
        "read": read - started,
        "wait": begun - read,
        "compute": computed - begun,
        "write": clock() - computed,
    }
    return TileRecord(tile.name, digest, counts, areas, seconds)


def _see(
    dates: list[Pixels], tile: Tile, shares: list[Share], wanted: np.ndarray
) -> tuple[Seen, list[np.ndarray]]:
    """What each date says of the core, and what the network sees where a mask hides.

    The latter is a second pass with the mask lifted, in tiles that a mask touches: the network's
    answer beside a mask depends on it, and the map must not.
    """
    crop, shape = tile.crop, wanted.shape
    valid = np.stack([d.valid[crop] for d in dates])
    hidden = [d.hidden[crop] & wanted for d in dates]
    mapped = bool((is_mapped(valid) & wanted).any())
    nothing = np.zeros(shape, np.float32)
    share = np.stack(
        [
            share(d.bands, d.valid)[crop] if mapped and d.valid[crop].any() else nothing
            for share, d in zip(shares, dates, strict=True)
        ]
    )
    beneath = [
        share(d.bands, d.valid | d.hidden)[crop] if h.any() else nothing
        for share, d, h in zip(shares, dates, hidden, strict=True)
    ]
    return Seen(share, valid), beneath


def _tally(
    mask: np.ndarray,
    dates: list[Pixels],
    beneath: list[np.ndarray],
    where: tuple[Grid, Tile, np.ndarray],
    rule: ChangeRule,
) -> tuple[dict[str, int], dict[str, float]]:
    """Pixels and square metres of each class, of what masks took from the map, and of each date."""
    grid, tile, wanted = where
    area = PixelArea(grid).window(tile.core)
    known = np.stack([(d.valid | d.hidden)[tile.crop] for d in dates])
    counts, areas = tally(mask, is_mapped(known) & (mask == NODATA) & wanted, area)
    for date, (pixels, share) in enumerate(zip(dates, beneath, strict=True)):
        hidden = pixels.hidden[tile.crop] & wanted
        for of_target in (False, True):
            part = hidden & (share >= rule.threshold) if of_target else hidden
            if part.any():
                counts[hidden_key(date, of_target)] = int(part.sum())
                areas[hidden_key(date, of_target)] = float(area[part].sum())
    return counts, areas
