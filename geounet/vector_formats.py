"""The vector formats: what each is called, what it can hold, and how its file is counted."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pyproj import CRS

from geounet.errors import InputError, OutputError
from geounet.grid import Grid
from geounet.placing import check_free

LAYER = "features"
SHAPEFILE_LIMIT = 2**31
"""Bytes of a .shp or .dbf beyond which many programs cannot read it."""
DBF_TEXT = 254
"""Bytes of the longest text that a .dbf holds."""

DRIVERS = {
    ".gpkg": "GPKG",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".geojsonl": "GeoJSONSeq",
    ".shp": "ESRI Shapefile",
    ".shp.zip": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
    ".parquet": "Parquet",
    ".pmtiles": "PMTiles",
}
LON_LAT = ("GeoJSON", "GeoJSONSeq", "PMTiles")
"""Formats that hold longitude and latitude on Earth, whatever the scene's CRS is."""
OPTIONS: dict[str, dict[str, str]] = {
    "GPKG": {"GEOMETRY_NAME": "geom"},
    "GeoJSON": {"RFC7946": "YES"},
    "ESRI Shapefile": {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": "2000-01-01"},
    "FlatGeobuf": {"SPATIAL_INDEX": "YES"},
}
# ^ Without a fixed date the shapefile's bytes would change from day to day.
_DBF_WIDTH = {"i": 9, "l": 18, "g": 24, "U": 80}
_FEATURE = b'{ "type": "Feature",'
_PIXELS = re.compile(rb'"n_px": (\d+)')
EARTH_RADII = (6.35e6, 6.39e6)


def ending_of(path: Path) -> str:
    """The ending that names a format, ``.shp.zip`` whole; any other is the path's suffix."""
    name = path.name.lower()
    return ".shp.zip" if name.endswith(".shp.zip") else path.suffix.lower()


def base_of(path: Path) -> str:
    """The name of a file without the ending that names its format."""
    return path.name[: len(path.name) - len(ending_of(path))]


def with_format(path: Path, name: str) -> Path:
    """The file beside ``path`` in another format: ``a.shp.zip`` and ``gpkg`` give ``a.gpkg``."""
    return path.with_name(f"{base_of(path)}.{name}")


def driver_of(path: Path) -> str:
    """GDAL's name of the format that a path's ending asks for."""
    return DRIVERS[ending_of(path)]


def layer_name(path: Path) -> str:
    """The layer in the file: ``features``, but a shapefile's is the file."""
    return base_of(path) if driver_of(path) == "ESRI Shapefile" else LAYER


def check_target(path: Path, grid: Grid, *, overwrite: bool = False) -> None:
    """Refuse, before any work is done, a file that could not or must not be written.

    Raises:
        OutputError: if the ending names no format, its library is missing, or the file exists.
        InputError: if the grid has no CRS, or does not lie on Earth and the format needs that.
    """
    if ending_of(path) not in DRIVERS:
        raise OutputError(
            f"{path}: {ending_of(path) or 'no ending'} is no vector format that can be written; "
            f"end the name in one of {', '.join(sorted(DRIVERS))}"
        )
    if driver_of(path) == "Parquet" and not _installed("pyarrow"):
        raise OutputError(
            f"{path}: GeoParquet needs pyarrow, which is not installed; "
            "run pip install 'geounet[parquet]', or write .gpkg or .fgb"
        )
    for part in (path, *(path.with_name(base_of(path) + end) for end in _parts(path))):
        check_free(part, overwrite=overwrite)
    if not grid.crs:
        raise InputError(f"{path}: its features would have no CRS; give the raster its own first")
    if driver_of(path) in LON_LAT and not on_earth(grid):
        why = "" if driver_of(path) == "PMTiles" else " (RFC 7946)"
        kind = "PMTiles" if driver_of(path) == "PMTiles" else "GeoJSON"
        raise InputError(
            f"{path}: {kind} holds places on Earth only{why}, and this scene's CRS is "
            "of another body; write .gpkg, .shp or .fgb, which keep its CRS"
        )


def _parts(path: Path) -> tuple[str, ...]:
    """The endings of the files that are written with a shapefile."""
    return (".shx", ".dbf", ".prj", ".cpg") if ending_of(path) == ".shp" else ()


def on_earth(grid: Grid) -> bool:
    """Whether the ellipsoid of a grid's CRS has about the Earth's size."""
    body = CRS.from_wkt(grid.crs.to_wkt(version="WKT2_2019")).ellipsoid
    return body is not None and EARTH_RADII[0] < body.semi_major_metre < EARTH_RADII[1]


def _installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None


def geojson_totals(path: Path) -> tuple[int, int]:
    """Features and their pixels in a closed GeoJSON of GDAL's, or in its lines alone.

    GDAL, which writes a feature a line, would take twenty times the file's size of memory to open
    it. Both are 0 if the end of a GeoJSON is missing.
    """
    count, pixels, last, alone = 0, 0, b"", ending_of(path) == ".geojsonl"
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(_FEATURE):
                count += 1
                found = _PIXELS.search(line)
                pixels += int(found[1]) if found else 0
            last = line
    whole = last.endswith(b"}\n") or not count if alone else last == b"}\n"
    return (count, pixels) if whole else (0, 0)


def feature_lines(geojson: Path, out: Path) -> None:
    """The features of a GeoJSON of GDAL's, each the whole of a line."""
    with geojson.open("rb") as lines, out.open("wb") as file:
        for line in lines:
            if line.startswith(_FEATURE):
                file.write(line.rstrip(b",\n") + b"\n")


def dbf_record(kinds: Sequence[str], longest: int) -> int:
    """Bytes of a record of a .dbf with fields of these Arrow formats; its widest text counts."""
    text = max(_DBF_WIDTH["U"], min(longest, DBF_TEXT))
    return 1 + sum(text if kind == "U" else _DBF_WIDTH[kind] for kind in kinds)


def refuse_large(
    path: Path,
    features: int,
    rings: int,
    vertices: int,
    record: int,
    *,
    limit: int = SHAPEFILE_LIMIT,
) -> None:
    """Refuse a shapefile that many programs could not read.

    Raises:
        OutputError: naming what to write instead.
    """
    # ESRI Shapefile Technical Description (1998): 8 bytes of record header, 44 of polygon header,
    # 4 per ring, 16 per vertex.
    shp = 100 + 52 * features + 4 * rings + 16 * vertices
    size = max(shp, record * features)
    if size > limit:
        raise OutputError(
            f"{path}: {features} features would take {size / 2**30:.1f} GB, and a shapefile "
            f"holds {limit / 2**30:.1f}; write .gpkg or .fgb, or give --min-area or --simplify"
        )
