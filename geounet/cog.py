"""Labels become a Cloud Optimized GeoTIFF, in the memory of one piece.

GDAL's COG driver writes at once, from a whole file, so pieces go into a plain tiled GeoTIFF first.
rasterio does not tell of every write that failed: it hides what closing a file returns, and with
several threads a full disk leaves zeros without an error. So threads are one, and when the file is
closed every piece is read again and compared, before the file takes its name.
"""

from __future__ import annotations

import ctypes
import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zlib import crc32

import numpy as np
import pyproj
import rasterio
import rasterio.shutil
from jaxtyping import Shaped
from numpy import ndarray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter, MemoryFile

from geounet.atomic import free_at
from geounet.card import NODATA, LandClass
from geounet.errors import OutputError
from geounet.grid import Grid, Window, shape_of
from geounet.placing import check_free, folder_beside, named, place
from geounet.style import colour_table, pam_xml, raster_qml
from geounet.xml_file import read_xml

BLOCK = 512
# Some rows of blocks are all that writing in tile order needs; more would only fill with the scene.
_ENV = {"GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": 24, "GDAL_PAM_ENABLED": "YES"}
_FAILURES = (RasterioError, CPLE_BaseError, OSError)
# ^ `rasterio.shutil.copy` lets GDAL's own errors through, which rasterio keeps private.

Piece = tuple[Window, Shaped[ndarray, "row col"] | Shaped[ndarray, "row col band"]]


@dataclass(frozen=True)
class CogStyle:
    """What the file says of its pixels.

    Args:
        classes: of a mask: colours and names. Empty for a measure such as confidence, whose
            overviews are averages.
        bands: a description for each band.
        nodata: of pixels that no piece covers, too.
        tags: where the file comes from; kept in its header.
    """

    classes: tuple[LandClass, ...] = ()
    bands: tuple[str, ...] = ("class",)
    nodata: int = NODATA
    tags: dict[str, str] = field(default_factory=dict)


def write_cog(
    path: Path,
    grid: Grid,
    pieces: Iterable[Piece],
    style: CogStyle | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write uint8 pieces, in any order, as one COG on ``grid``; what they leave out is nodata.

    When it returns, ``path`` holds every piece bit for bit, and the grid's own shape, transform
    and CRS; a mask has ``.aux.xml`` with its class names and ``.qml`` with its QGIS style beside
    it. Memory does not grow with the scene. The same pieces give the same bytes.

    Raises:
        OutputError: if the file exists, cannot be written, or does not hold what was written.
    """
    style = style or CogStyle()
    check_target(path, grid, overwrite=overwrite)
    _hush_libtiff()
    with folder_beside(path) as folder, named(path, *_FAILURES), rasterio.Env(**_ENV):
        plain, new = folder / f"{path.stem}.plain.tif", folder / path.name
        written = _write_plain(plain, grid, pieces, style)
        rasterio.shutil.copy(plain, new, driver="COG", **_options(style))
        for left in folder.glob(f"{glob.escape(plain.name)}*"):
            left.unlink()
        if style.classes:
            _add_side_cars(new, style.classes)
        _verify(new, path, grid, style, written)
        place(folder, path)


@cache
def _hush_libtiff() -> None:
    """Have libtiff print nothing: GDAL raises what it says, and errors are told in one line.

    It has no other switch, and is linked by GDAL alone; where it is not found, it prints.
    """
    with suppress(OSError):
        mapped = Path("/proc/self/maps").read_text().splitlines()
        names = {line.split(maxsplit=5)[-1] for line in mapped if "libtiff" in line}
        for name in names:
            with suppress(AttributeError):
                handler = ctypes.CDLL(name).TIFFSetErrorHandler
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)


def check_target(path: Path, grid: Grid, *, overwrite: bool = False) -> None:
    """Refuse, before any work is done, a file that must not be written, or cannot hold its grid.

    Raises:
        OutputError: if the file exists, or a GeoTIFF would change the transform or the CRS.
    """
    check_free(path, overwrite=overwrite)
    pixel = Grid((1, 1), grid.transform, grid.crs)
    with rasterio.Env(**_ENV), MemoryFile() as memory:
        with memory.open(**_profile(pixel, 1, NODATA)):
            pass
        with memory.open() as data:
            _check_header(path, data, pixel, CogStyle())


def _add_side_cars(new: Path, classes: Sequence[LandClass]) -> None:
    """The QGIS style, and the class names in the side-car that GDAL may have begun.

    A CRS that GeoTIFF has no keys for is kept there by GDAL.
    """
    new.with_suffix(".qml").write_text(raster_qml(classes), encoding="utf-8")
    side_car = new.with_name(new.name + ".aux.xml")
    text = pam_xml(classes)
    if side_car.exists():
        root, theirs = ElementTree.fromstring(text), read_xml(side_car)
        root[:0] = [part for part in theirs if part.tag != "PAMRasterBand"]
        text = ElementTree.tostring(root, encoding="unicode")
    side_car.write_text(text, encoding="utf-8")


def _options(style: CogStyle) -> dict[str, str | int]:
    return {
        "BLOCKSIZE": BLOCK,
        "COMPRESS": "DEFLATE",
        "LEVEL": 6,
        "PREDICTOR": "NO",
        "NUM_THREADS": "1",
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "IGNORE_EXISTING",
        "OVERVIEW_RESAMPLING": "MODE" if style.classes else "AVERAGE",
    }


def _write_plain(
    plain: Path, grid: Grid, pieces: Iterable[Piece], style: CogStyle
) -> list[tuple[Window, int]]:
    """Write the pieces and return each window with the checksum of what was given for it."""
    written = []
    with rasterio.open(plain, "w", **_profile(grid, len(style.bands), style.nodata)) as data:
        _describe(data, style)
        for window, values in pieces:
            bands = _bands(values, window, len(style.bands))
            data.write(bands, window=_rasterio_window(window))
            written.append((window, crc32(bands.data)))
    return written


def _profile(grid: Grid, bands: int, nodata: int) -> dict[str, Any]:
    rows, cols = grid.shape
    return {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "count": bands,
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "SPARSE_OK": "TRUE",
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "1",
    }


def _describe(data: DatasetWriter, style: CogStyle) -> None:
    data.update_tags(**style.tags)
    for index, name in enumerate(style.bands, start=1):
        data.set_band_description(index, name)
    if style.classes:
        data.write_colormap(1, colour_table(style.classes))
    else:
        data.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(style.bands) - 1)


def _bands(values: ndarray, window: Window, count: int) -> Shaped[ndarray, "band row col"]:
    """A piece as the file wants it."""
    whole = values[..., None] if values.ndim == 2 else values
    if whole.shape != (*shape_of(window), count) or whole.dtype != np.uint8:
        raise ValueError(
            f"a piece of {values.shape} {values.dtype} does not fill the window {window} "
            f"with {count} bands of uint8"
        )
    return np.ascontiguousarray(np.moveaxis(whole, -1, 0))


def _rasterio_window(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, cols = window
    return ((rows.start, rows.stop), (cols.start, cols.stop))


def _verify(
    new: Path, path: Path, grid: Grid, style: CogStyle, written: Sequence[tuple[Window, int]]
) -> None:
    with rasterio.open(new, driver="GTiff") as data:
        _check_header(path, data, grid, style)
        for window, checksum in written:
            if crc32(data.read(window=_rasterio_window(window)).data) != checksum:
                rows, cols = window
                raise OutputError(
                    f"{path}: rows {rows.start} to {rows.stop}, columns {cols.start} to "
                    f"{cols.stop} differ after writing ({free_at(new)}); "
                    "check the disk and try again"
                )


def _check_header(path: Path, data: DatasetReader, grid: Grid, style: CogStyle) -> None:
    for what, found, expected in _header(data, grid, style):
        if found != expected:
            raise OutputError(
                f"{path}: its {what} would be {found}, not {expected}, as a GeoTIFF cannot hold "
                "that; bring the scene to another CRS first, for example with gdalwarp -t_srs"
            )


def _same_but_axes(a: CRS, b: CRS) -> bool:
    if a == b:
        return True
    first, second = (pyproj.CRS.from_wkt(crs.to_wkt(version="WKT2_2019")) for crs in (a, b))
    return bool(first.equals(second, ignore_axis_order=True))


def _header(
    data: DatasetReader, grid: Grid, style: CogStyle
) -> Iterator[tuple[str, object, object]]:
    yield "shape", data.shape, grid.shape
    yield "transform", data.transform, grid.transform
    # rasterio tells longitude-latitude apart from latitude-longitude, which its transforms do not.
    if not _same_but_axes(data.crs, grid.crs):
        yield "CRS", data.crs, grid.crs
    yield "number of bands", data.count, len(style.bands)
    yield "nodata", set(data.nodatavals), {style.nodata}
    if style.classes:
        yield "colour table", data.colormap(1), colour_table(style.classes)
