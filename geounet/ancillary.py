"""A raster from elsewhere that marks places, such as water that lasts, on any grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geounet.bands import nodata_of
from geounet.errors import InputError
from geounet.fingerprint import fingerprint_of
from geounet.grid import Grid, Window
from geounet.locations import locate
from geounet.raster import Raster, read_header
from geounet.resample import Part, covers, overlap, read_on


@dataclass(frozen=True)
class Ancillary:
    """A raster of one band: a place is marked where the nearest pixel is not 0."""

    raster: Raster

    def notes(self, grid: Grid) -> tuple[str, ...]:
        """What the user should know of it before the job begins."""
        if covers(self.raster.grid, grid):
            return ()
        return (f"{self.raster.shown}: covers only part of the scene; elsewhere it marks nothing",)

    def marks(self, grid: Grid, window: Window) -> np.ndarray:
        """``(row, col)`` True where a place of a window of ``grid`` is marked.

        Where the raster has no data nothing is marked.

        Raises:
            InputError: if the file cannot be read there.
        """
        part = Part(self.raster, (1,), (nodata_of(self.raster, 1),), "nearest")
        numbers, known = read_on(part, grid, window)
        return (numbers[..., 0] != 0) & known

    def fingerprint(self) -> dict[str, object]:
        """What ``--resume`` compares."""
        return dict(fingerprint_of(self.raster))


def open_ancillary(path: str | Path, grid: Grid) -> Ancillary:
    """The raster, checked from its header.

    Raises:
        InputError: if it cannot be read, has several bands, or does not overlap ``grid``.
    """
    raster = read_header(locate(path))
    if len(raster.dtypes) != 1:
        raise InputError(
            f"{raster.shown}: has {len(raster.dtypes)} bands, and a layer that marks places has "
            "one; write it alone with `gdal_translate -b NUMBER in.tif layer.tif`"
        )
    if not overlap(raster.grid, grid):
        raise InputError(
            f"{raster.shown}: does not overlap the scene; check that both show the same place"
        )
    return Ancillary(raster)
