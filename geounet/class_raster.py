"""A class raster of any making, read window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32
from numpy import ndarray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geounet.errors import InputError
from geounet.grid import Window
from geounet.polygons.cracks import VOID
from geounet.polygons.lattice import Lattice
from geounet.raster import Raster, cause_of
from geounet.small_file import is_file
from geounet.style import MapClass, default_colour
from geounet.xml_file import read_xml

MOST_CLASSES = 1024
_CHUNK = 2**20
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class ClassRaster:
    """Class values of one band of whole numbers; VOID where the raster has no data.

    Raises:
        InputError: if it has several bands.
    """

    raster: Raster

    def __post_init__(self) -> None:
        if len(self.raster.bands) != 1:
            raise InputError(
                f"{self.raster.shown}: has {len(self.raster.bands)} bands, and a class raster has "
                "one; take it out with `gdal_translate -b 1 in.tif out.tif`"
            )

    def __call__(self, window: Window) -> Int32[ndarray, "row col"]:
        """The labels of a window.

        Raises:
            InputError: if it cannot be read, or does not hold whole numbers of 32 bits.
        """
        with self.raster.open() as data:
            return self.read(data, window)

    def read(self, data: DatasetReader, window: Window) -> Int32[ndarray, "row col"]:
        """The labels of a window of the file, opened as ``data``; raises likewise."""
        rows, cols = window
        part, band = ((rows.start, rows.stop), (cols.start, cols.stop)), self.raster.bands[0]
        try:
            values = data.read(band, window=part)
            invalid = data.read_masks(band, window=part) == 0
        except RasterioError as error:
            raise InputError(
                f"{self.raster.shown}: rows {rows.start} to {rows.stop}, columns {cols.start} to "
                f"{cols.stop} cannot be read: {cause_of(error)}; is the file complete?"
            ) from error
        return _whole_numbers(self.raster, values, invalid)

    def names(self) -> dict[int, str]:
        """What GDAL's side-car beside the file calls its values, where it does."""
        side_car = Path(self.raster.file + ".aux.xml")
        if not is_file(side_car):
            return {}
        found = read_xml(side_car).findall("./PAMRasterBand[@band='1']/CategoryNames/Category")
        texts = ((category.text or "").strip() for category in found)
        return {value: text for value, text in enumerate(texts) if text}

    def values(self, check: Callable[[], None]) -> list[int]:
        """The classes that occur, ascending; ``check`` is called often, and raises to stop.

        Raises:
            InputError: if there are too many, or the raster cannot be read.
        """
        lattice = Lattice(self.raster.grid.shape)
        found = np.empty(0, np.int64)
        for cell in range(lattice.rows * lattice.cols):
            check()
            found = np.union1d(found, present_values(self(lattice.window(cell))))
            found = found[found != VOID]
            if found.size > MOST_CLASSES:
                raise InputError(
                    f"{self.raster.shown}: has {found.size} different values or more, and "
                    f"{MOST_CLASSES} are the most: it holds measurements, not classes; reclassify "
                    "it first"
                )
        return found.tolist()

    def classes(self, values: Sequence[int]) -> tuple[MapClass, ...]:
        """What the file itself says of these values."""
        names, colours = self.names(), _colours(self.raster)
        return tuple(
            MapClass(
                value,
                names.get(value, f"class {value}"),
                colours.get(value, default_colour(index)),
            )
            for index, value in enumerate(values)
        )


def present_values(labels: Int[ndarray, "..."]) -> Int[ndarray, " value"]:
    """The values that occur, ascending: `numpy.unique`, without sorting every pixel."""
    if not labels.size:
        return np.empty(0, np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low >= _CHUNK:
        return np.unique(labels)
    flat, seen = labels.reshape(-1), np.zeros(high - low + 1, bool)
    for start in range(0, flat.size, _CHUNK):
        seen[flat[start : start + _CHUNK].astype(np.int64) - low] = True
    return np.flatnonzero(seen) + low


def _whole_numbers(raster: Raster, values: ndarray, invalid: ndarray) -> Int32[ndarray, "row col"]:
    """The values as int32, VOID where they are invalid; what is not finite is."""
    if values.dtype.kind not in "uif":
        raise InputError(
            f"{raster.shown}: holds {values.dtype}, and a class raster holds whole numbers; "
            "reclassify it first"
        )
    if values.dtype.kind == "f":
        np.logical_or(invalid, ~np.isfinite(values), out=invalid)
    values = np.where(invalid, values.dtype.type(0), values)
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise InputError(
            f"{raster.shown}: holds fractions, and a class raster holds whole numbers; "
            "reclassify it first"
        )
    # As Python's numbers: in 32-bit floats the limit itself is rounded.
    if int(values.min()) <= VOID or int(values.max()) > _INT32.max:
        raise InputError(
            f"{raster.shown}: holds values outside {VOID + 1} to {_INT32.max}, which class_id "
            "cannot; reclassify it first"
        )
    return np.where(invalid, np.int32(VOID), values.astype(np.int32))


def _colours(raster: Raster) -> dict[int, str]:
    if raster.colours[raster.bands[0] - 1] != "palette":
        return {}
    with raster.open() as data:
        table = data.colormap(raster.bands[0])
    return {value: f"#{r:02x}{g:02x}{b:02x}" for value, (r, g, b, _) in table.items()}
