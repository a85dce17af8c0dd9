"""A class raster read by rows, never whole: which class each pixel has, and where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geounet.errors import InputError
from geounet.grid import Grid
from geounet.raster import Raster, cause_of, open_raster, read_header
from geounet.xml_file import read_xml

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class ClassMap:
    """A raster of one band of whole numbers, and the names of its values as far as known."""

    raster: Raster
    names: Mapping[int, str]

    @property
    def grid(self) -> Grid:
        return self.raster.grid

    def name(self, value: int) -> str:
        return self.names.get(value) or f"class {value}"

    def read(
        self, data: DatasetReader, rows: slice
    ) -> tuple[Int[ndarray, "row col"], Bool[ndarray, "row col"]]:
        """Values and validity of whole rows of the file, opened as ``data``."""
        return self._read(data, Window(0, rows.start, self.grid.shape[1], rows.stop - rows.start))

    def at(
        self, rows: Int[ndarray, " point"], cols: Int[ndarray, " point"]
    ) -> tuple[Int[ndarray, " point"], Bool[ndarray, " point"]]:
        """Values and validity of single pixels."""
        values, valid = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
        with open_raster(self.raster.file, self.raster.driver) as data:
            for i in np.lexsort((cols, rows)):
                pixel = self._read(data, Window(int(cols[i]), int(rows[i]), 1, 1))
                values[i], valid[i] = pixel[0].item(), pixel[1].item()
        return values, valid

    def _read(
        self, data: DatasetReader, window: Window
    ) -> tuple[Int[ndarray, "row col"], Bool[ndarray, "row col"]]:
        band = self.raster.bands[0]
        try:
            values = data.read(band, window=window)
            valid = data.read_masks(band, window=window) > 0
        except RasterioError as error:
            raise InputError(
                f"{self.raster.shown}: rows {window.row_off} to "
                f"{window.row_off + window.height} cannot be read: {cause_of(error)}; "
                "is the file complete?"
            ) from error
        return _whole_numbers(self.raster, values, valid)


def open_class_map(path: str | Path) -> ClassMap:
    """A class raster's header and names; no pixel is read.

    Raises:
        InputError: if it cannot be opened, or has more than one band.
    """
    raster = read_header(str(path))
    if len(raster.bands) != 1:
        raise InputError(
            f"{raster.shown}: has {len(raster.bands)} bands, and a class raster has one; "
            "take it out with `gdal_translate -b 1 in.tif out.tif`"
        )
    return ClassMap(raster, _category_names(Path(raster.file + ".aux.xml")))


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


def _whole_numbers(
    raster: Raster, values: ndarray, valid: ndarray
) -> tuple[Int[ndarray, "row col"], Bool[ndarray, "row col"]]:
    if values.dtype.kind == "f":
        valid = valid & np.isfinite(values)
    if values.dtype.kind not in "uif":
        raise InputError(f"{raster.shown}: {values.dtype} is no type of classes; reclassify it")
    values = np.where(valid, values, 0)
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise InputError(
            f"{raster.shown}: holds fractions, and a class raster holds whole numbers; "
            "reclassify it first"
        )
    if values.size and (values.min() < _INT32.min or values.max() >= _INT32.max):
        raise InputError(f"{raster.shown}: holds values beyond 32 bits; reclassify it first")
    return values.astype(np.int64), valid


def _category_names(side_car: Path) -> dict[int, str]:
    """Value → name, from GDAL's own side-car beside the raster."""
    if not side_car.is_file():
        return {}
    found = read_xml(side_car).findall("./PAMRasterBand[@band='1']/CategoryNames/Category")
    return {value: (category.text or "").strip() for value, category in enumerate(found)}


def class_names(maps: Sequence[ClassMap], values: Sequence[int]) -> tuple[str, ...]:
    """A name for each value, from the first map that has one."""
    known = [next((m for m in maps if m.names.get(v)), maps[0]).name(v) for v in values]
    taken = {n for n in known if known.count(n) > 1}
    return tuple(f"{n} ({v})" if n in taken else n for n, v in zip(known, values, strict=True))
