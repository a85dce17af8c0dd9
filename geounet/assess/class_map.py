"""A class map to assess: which class each pixel has, where it has one, and what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from rasterio.io import DatasetReader

from geounet.class_raster import ClassRaster
from geounet.errors import InputError
from geounet.grid import Grid, Window
from geounet.polygons.cracks import VOID
from geounet.raster import Raster, read_header


@dataclass(frozen=True)
class ClassMap:
    """A class raster, of which whole rows or single pixels are read."""

    labels: ClassRaster

    @property
    def raster(self) -> Raster:
        return self.labels.raster

    @property
    def grid(self) -> Grid:
        return self.raster.grid

    @cached_property
    def names(self) -> dict[int, str]:
        """The names of values, as far as known."""
        return self.labels.names()

    def name(self, value: int) -> str:
        return self.names.get(value) or f"class {value}"

    def read(
        self, data: DatasetReader, rows: slice
    ) -> tuple[Int[ndarray, "row col"], Bool[ndarray, "row col"]]:
        """Values and validity of whole rows of the file, opened as ``data``."""
        return self._read(data, (rows, slice(0, self.grid.shape[1])))

    def at(
        self, rows: Int[ndarray, " point"], cols: Int[ndarray, " point"]
    ) -> tuple[Int[ndarray, " point"], Bool[ndarray, " point"]]:
        """Values and validity of single pixels."""
        values, valid = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
        with self.raster.open() as data:
            for i in np.lexsort((cols, rows)):
                row, col = int(rows[i]), int(cols[i])
                pixel = self._read(data, (slice(row, row + 1), slice(col, col + 1)))
                values[i], valid[i] = pixel[0].item(), pixel[1].item()
        return values, valid

    def _read(
        self, data: DatasetReader, window: Window
    ) -> tuple[Int[ndarray, "row col"], Bool[ndarray, "row col"]]:
        labels = self.labels.read(data, window)
        valid = labels != VOID
        return np.where(valid, labels, 0).astype(np.int64), valid


def open_class_map(path: str | Path) -> ClassMap:
    """A class raster's header; no pixel is read.

    Raises:
        InputError: if it cannot be opened, or has more than one band.
    """
    return ClassMap(ClassRaster(read_header(str(path))))


def same_grid(one: ClassMap, other: ClassMap) -> None:
    """Refuse two rasters whose pixels are not the same places.

    Raises:
        InputError: naming both files.
    """
    if one.grid != other.grid:
        raise InputError(
            f"{other.raster.shown}: does not lie on the grid of {one.raster.shown}; warp it there "
            "first, with `gdalwarp -r near -t_srs … -te … -ts …`"
        )


def class_names(maps: Sequence[ClassMap], values: Sequence[int]) -> tuple[str, ...]:
    """A name for each value, from the first map that has one."""
    known = [next((m for m in maps if m.names.get(v)), maps[0]).name(v) for v in values]
    taken = {n for n in known if known.count(n) > 1}
    return tuple(f"{n} ({v})" if n in taken else n for n, v in zip(known, values, strict=True))
