"""The labels of a job's finished tiles, read by any window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray

from geounet.card import NODATA
from geounet.grid import Tile, Window, intersect, shape_of, shift
from geounet.polygons.cracks import VOID
from geounet.store import TileRecord, TileStore

_KEPT = 24
"""Tiles that are kept decoded: a row of those that a cell of the lattice touches, twice over."""


@dataclass(frozen=True)
class TileLayer:
    """One layer of the tiles, as uint8: NODATA where no tile has a pixel.

    Args:
        store: folder or address of the tile objects.
        layer: ``mask`` or ``confidence``.
        pieces: core, name and SHA-256 of each tile that has pixels.
    """

    store: str
    layer: str
    pieces: tuple[tuple[Window, str, str], ...]

    def __call__(self, window: Window) -> UInt8[ndarray, "row col"]:
        """The pixels of a window."""
        part = np.full(shape_of(window), NODATA, np.uint8)
        for core, name, digest in self.pieces:
            shared = intersect(core, window)
            if shared is not None:
                tile = _layers(self.store, name, digest)[self.layer]
                part[shift(shared, window)] = tile[shift(shared, core)]
        return part


@dataclass(frozen=True)
class TileLabels:
    """Class values of the tiles as the tracer wants them: VOID where there is no data."""

    mask: TileLayer

    def __call__(self, window: Window) -> Int32[ndarray, "row col"]:
        """The labels of a window."""
        part = self.mask(window)
        return np.where(part == NODATA, VOID, part.astype(np.int32))


def layer_of(
    store: TileStore, layer: str, tiles: Sequence[Tile], records: Mapping[str, TileRecord]
) -> TileLayer:
    """A layer of the tiles that have pixels."""
    found = ((tile, records[tile.name]) for tile in tiles)
    pieces = tuple((t.core, t.name, r.sha256) for t, r in found if not r.is_empty)
    return TileLayer(store.where, layer, pieces)


@lru_cache(maxsize=_KEPT)
def _layers(store: str, name: str, digest: str) -> dict[str, ndarray]:
    layers = TileStore(store).get(TileRecord(name, digest))
    return {layer: layers[layer] for layer in ("mask", "confidence")}
