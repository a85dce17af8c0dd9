"""The one door to raster files: opens them safely, and says what their headers hold.

Only GeoTIFF and JPEG 2000 drivers (PNG too where training asks) are ever tried, chosen by the
file's first bytes: left to choose for itself GDAL would open a VRT or WMS document named ``.tif``,
which can fetch addresses and read other files. Every error leaves as InputError with the file, the
window, the cause and a way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import hypot, isnan, prod

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from geounet.errors import InputError
from geounet.grid import PIXELS, Grid
from geounet.locations import is_remote, local_path, shown
from geounet.raster_file import GDAL_ERRORS, cause_of, open_raster
from geounet.small_file import refuse_special
from geounet.transfer import USUAL, Access, Version
from geounet.vrt import check_sources

BLOCK_LIMIT = 512 * 2**20
"""Bytes that reading a single pixel may cost: a file laid out worse is refused."""
BAND_LIMIT = 1024
BLOCKS_ASKED = 20_000
"""Of a file's blocks at most so many, evenly spread, are asked whether they were ever written."""
READABLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@dataclass(frozen=True)
class Raster:
    """The header of one file: all that is needed to open it again and read, never an open file.

    ``mask`` says where per-file validity comes from ("alpha", "file" for an internal or side-car
    mask, "" for none), and ``bands`` are the 1-based indices that hold image data. ``unwritten`` is
    the share of a band's blocks that read as 0 because nobody wrote them, where 0 is not no data.
    """

    file: str
    driver: str
    grid: Grid
    dtypes: tuple[str, ...]
    bands: tuple[int, ...]
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scaling: tuple[tuple[float, float] | None, ...]
    mask: str
    faults: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    block: tuple[int, int]
    unwritten: tuple[float, ...]
    access: Access = USUAL
    version: Version | None = None

    def __repr__(self) -> str:
        """Dask logs what its tasks are given, and an address may hold a signature."""
        return f"Raster({self.shown!r})"

    @contextmanager
    def open(self, where: str = "") -> Iterator[DatasetReader]:
        """The file opened again, and of an address the same version; see ``open_raster``."""
        with open_raster(self.file, self.driver, self.access, self.version, where) as (data, _):
            yield data

    @property
    def shown(self) -> str:
        """The file's name for messages, without the query string that may hold a signature."""
        return shown(self.file)

    @property
    def count(self) -> int:
        return len(self.dtypes)


def read_header(
    file: str,
    *,
    assume_crs: str | None = None,
    allow_vrt: bool = False,
    patches: bool = False,
    access: Access = USUAL,
) -> Raster:
    """The header of a file, checked: no pixel is read.

    Args:
        file: a located path or address.
        assume_crs: the CRS of a file that names none.
        allow_vrt: open GDAL VRTs too.
        patches: open PNG too, and files without georeferencing, on a grid of their own pixels.
        access: how an address may be read.

    Raises:
        InputError: if it is missing, not an image that we read, not georeferenced, or laid out so
            that one pixel costs hundreds of megabytes.
    """
    driver = _driver(file, allow_vrt, patches)
    with open_raster(file, driver, access) as (data, version), _beside(file):
        _check_layout(file, data)
        grid = _patch_grid(data, assume_crs) if patches else None
        grid = grid or _grid(file, data, assume_crs)
        return replace(_describe(file, driver, data, grid), access=access, version=version)


@contextmanager
def _beside(file: str) -> Iterator[None]:
    """Tell of masks and overviews beside a file: GDAL opens them when their parent is asked."""
    try:
        yield
    except GDAL_ERRORS as error:
        raise InputError(
            f"{shown(file)}: what lies beside it cannot be read: {cause_of(error)}; remove that "
            "file, or copy it again"
        ) from error


def _describe(file: str, driver: str, data: DatasetReader, grid: Grid) -> Raster:
    alpha = [
        i for i, c in zip(data.indexes, data.colorinterp, strict=True) if c is ColorInterp.alpha
    ]
    images = tuple(i for i in data.indexes if i not in alpha)
    scales = zip(data.scales, data.offsets, strict=True)
    mask = _mask_kind(data, bool(alpha))
    return Raster(
        file=file,
        driver=driver,
        grid=grid,
        dtypes=tuple(data.dtypes),
        bands=images,
        descriptions=tuple(d or "" for d in data.descriptions),
        colours=tuple(c.name for c in data.colorinterp),
        # NaN is no data in any file of floats, and as a value it would not equal itself.
        nodata=tuple(None if n is None or isnan(n) else n for n in data.nodatavals),
        # GDAL answers (1, 0) for files that say nothing.
        scaling=tuple(None if s == (1.0, 0.0) else s for s in scales),
        mask=mask,
        faults=tuple(_fault(data, i) for i in data.indexes),
        tags=tuple(sorted(data.tags().items())),
        block=max(data.block_shapes, key=prod),
        unwritten=tuple(0.0 if mask else _unwritten(data, i) for i in data.indexes),
    )


def _mask_kind(data: DatasetReader, alpha: bool) -> str:
    if alpha:
        return "alpha"
    per_file = any(MaskFlags.per_dataset in flags for flags in data.mask_flag_enums)
    return "file" if per_file else ""


def _driver(file: str, allow_vrt: bool, patches: bool) -> str:
    """The driver that the first bytes call for."""
    if is_remote(file):
        return "JP2OpenJPEG" if file.split("?")[0].lower().endswith(".jp2") else "GTiff"
    path = local_path(file)
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}; check the path") from error
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "GTiff"
    if head[4:8] == b"jP  " or head[:4] == b"\xff\x4f\xff\x51":
        return "JP2OpenJPEG"
    if patches and head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.lstrip().startswith(b"<VRTDataset"):
        if not allow_vrt:
            raise InputError(
                f"{file}: is a GDAL VRT, which can name any other file or address; say --allow-vrt "
                f"if you trust it, or make a GeoTIFF with `gdal_translate {path.name} out.tif`"
            )
        check_sources(path)
        return "VRT"
    raise InputError(
        f"{file}: is neither a GeoTIFF nor a JPEG 2000 image (it is {_looks(head)}); "
        f"convert it with `gdal_translate {path.name} out.tif`, or download it again"
    )


def _looks(head: bytes) -> str:
    """What a file may be that is no image; its bytes are not shown.

    A scene.yaml from elsewhere could name any file of the user's.
    """
    if not head:
        return "empty"
    if head.lstrip().startswith(b"<"):
        return "XML or HTML"
    return "text" if not re.search(rb"[\x00-\x08\x0e-\x1f]", head) else "of another kind"


def _check_layout(file: str, data: DatasetReader) -> None:
    if data.count > BAND_LIMIT:
        raise InputError(
            f"{shown(file)}: has {data.count} bands, more than the {BAND_LIMIT} that are read; "
            f"take out those you need with `gdal_translate -b 1 -b 2 in.tif out.tif`"
        )
    interleaved = data.count if data.interleaving and data.interleaving.value == "PIXEL" else 1
    block, dtype = max(
        ((b, d) for b, d in zip(data.block_shapes, data.dtypes, strict=True)),
        key=lambda pair: prod(pair[0]) * _item_size(pair[1]),
    )
    size = prod(block) * _item_size(dtype) * interleaved
    if size > BLOCK_LIMIT:
        raise InputError(
            f"{shown(file)}: one block of {block[0]}×{block[1]} pixels × {interleaved} bands takes "
            f"{size / 2**20:.0f} MB of memory, above the limit of {BLOCK_LIMIT // 2**20}; rewrite "
            f"it with `gdal_translate -co TILED=YES -co COMPRESS=DEFLATE in.tif out.tif`"
        )


def _item_size(dtype: str) -> int:
    return 16 if dtype.startswith("complex") else np.dtype(dtype).itemsize


def _fault(data: DatasetReader, index: int) -> str:
    """Why a band's numbers are no measurements, or ""."""
    dtype = data.dtypes[index - 1]
    if dtype not in READABLE:
        return f"is of type {dtype}"
    if data.tags(index, ns="IMAGE_STRUCTURE").get("NBITS") == "1":
        return "is a 1-bit image"
    if data.colorinterp[index - 1] is ColorInterp.palette:
        return "is a palette image: its numbers are colour indices"
    return ""


def _unwritten(data: DatasetReader, index: int) -> float:
    """The share of a GeoTIFF band's blocks without bytes, where no nodata value names them."""
    if data.driver != "GTiff" or data.nodatavals[index - 1] is not None:
        return 0.0
    rows, cols = data.block_shapes[index - 1]
    down, across = -(-data.height // rows), -(-data.width // cols)
    step = -(-down * across * data.count // BLOCKS_ASKED)
    asked = [divmod(k, across) for k in range(0, down * across, step)]
    names = (f"BLOCK_OFFSET_{col}_{row}" for row, col in asked)
    return sum(data.get_tag_item(name, "TIFF", bidx=index) is None for name in names) / len(asked)


def _patch_grid(data: DatasetReader, assume_crs: str | None) -> Grid | None:
    """The grid of an image whose pixels have no place on Earth; None where they have one."""
    t = data.transform
    placed = t != Affine.identity() and _invertible(t) and (data.crs or assume_crs)
    return None if placed else Grid((data.height, data.width), Affine.identity(), PIXELS)


def _grid(file: str, data: DatasetReader, assume_crs: str | None) -> Grid:
    transform = data.transform
    if transform == Affine.identity() or not _invertible(transform):
        raise InputError(f"{shown(file)}: {_unplaced(data)}")
    crs = data.crs
    if assume_crs is not None and not crs:
        crs = _parse_crs(assume_crs)
    if not crs:
        raise InputError(
            f"{shown(file)}: names no coordinate reference system; write it with "
            "`gdal_edit.py -a_srs EPSG:… in.tif`, or where a scene is read give --assume-crs EPSG:…"
        )
    return Grid((data.height, data.width), transform, crs)


def _unplaced(data: DatasetReader) -> str:
    """Why pixels have no place on Earth, and the way out."""
    if data.gcps[0]:
        points = len(data.gcps[0])
        return f"is placed only by {points} ground control points; run `gdalwarp in.tif out.tif`"
    if data.rpcs is not None:
        return "is placed only by RPCs; run `gdalwarp -rpc in.tif out.tif`"
    return (
        "has no georeferencing; write its corners and CRS with "
        "`gdal_translate -a_ullr ULX ULY LRX LRY -a_srs EPSG:… in.tif out.tif`"
    )


def _invertible(transform: Affine) -> bool:
    size = hypot(transform.a, transform.d) * hypot(transform.b, transform.e)
    return size > 0 and abs(transform.determinant) > 1e-9 * size


def _parse_crs(text: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except GDAL_ERRORS as error:
        raise InputError(
            f"assume_crs {text!r}: is not a CRS: {cause_of(error)}; write e.g. EPSG:32633"
        ) from error
