"""Class rasters as labels, read on the grid of the image whatever their own is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from geounet.bands import nodata_of
from geounet.card import LandClass
from geounet.errors import InputError
from geounet.grid import Grid, Window
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import UNLABELLED
from geounet.learn.label_grid import placed
from geounet.raster import Raster, read_header
from geounet.resample import Part, read_on
from geounet.transfer import Access


@dataclass(frozen=True)
class RasterLabels:
    """One band of label values; ``nodata`` stands for no label."""

    raster: Raster
    nodata: float | None

    def values(self, grid: Grid, window: Window) -> Int64[np.ndarray, "row col"]:
        """Label values of a window of ``grid``, nearest where the grids differ.

        ``values(grid, window)`` is the window of ``values(grid, grid.whole)``.

        Raises:
            InputError: if the file cannot be read there, or holds fractions.
        """
        part = Part(self.raster, self.raster.bands, (self.nodata,), "nearest")
        bands, known = read_on(part, grid, window)
        numbers = bands[..., 0]
        if numbers.dtype.kind == "f":
            self._refuse_fractions(numbers[known])
            numbers = np.where(known, numbers, 0)
        return np.where(known, numbers.astype(np.int64), UNLABELLED)

    def _refuse_fractions(self, numbers: np.ndarray) -> None:
        broken = numbers[numbers != np.rint(numbers)]
        if broken.size:
            raise InputError(
                f"{self.raster.shown}: labels are whole numbers, but it holds {broken[0]:g}; write "
                "class values with `gdal_translate -ot Byte`, and resample labels by nearest only"
            )


def open_raster_labels(
    file: str, grid: Grid, data: DataSettings, classes: Sequence[LandClass]
) -> tuple[RasterLabels, tuple[str, ...]]:
    """Labels for an image on ``grid``, from the header alone, with what the user should know.

    Raises:
        InputError: if the file is no label raster, or does not lie on the image.
    """
    header = read_header(
        file,
        assume_crs=data.assume_crs,
        allow_vrt=data.allow_vrt,
        patches=True,
        access=Access(data.allow_private, data.read_deadline),
    )
    dtypes = [header.dtypes[i - 1] for i in header.bands]
    if len(dtypes) != 1 or np.dtype(dtypes[0]).kind not in "iuf":
        raise InputError(
            f"{header.shown}: labels are one band of whole numbers, but it has "
            f"{len(dtypes)} of {', '.join(dict.fromkeys(dtypes))}; take one band out with "
            "`gdal_translate -b 1`"
        )
    nodata = _nodata(header, data, classes)
    raster, notes = placed(header, grid, data.crop_labels)
    return RasterLabels(raster, nodata), notes


def _nodata(raster: Raster, data: DataSettings, classes: Sequence[LandClass]) -> float | None:
    """The number that means no label: the setting's, else the file's own unless remap names it."""
    index = raster.bands[0]
    if data.label_nodata == "none":
        return None
    if data.label_nodata is not None:
        return nodata_of(raster, index, data.label_nodata)
    nodata = nodata_of(raster, index)
    both = [c.name for c in classes if c.value == nodata]
    if nodata is None or nodata in data.remap:
        return None
    if both:
        raise InputError(
            f"{raster.shown}: {nodata:g} is its nodata and the class {both[0]} too; say "
            f"`label_nodata: none` under data if those pixels are {both[0]}, or "
            f"`label_nodata: {nodata:g}` if they have no label"
        )
    return nodata
