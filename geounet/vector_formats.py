"""The vector formats: what each is called, can hold, and how its file is counted."""

from __future__ import annotations

from pathlib import Path

from pyproj import CRS

from geounet.errors import InputError, OutputError
from geounet.grid import Grid
from geounet.placing import check_free

LAYER = "features"
SHAPEFILE_LIMIT = 2**31
"""Bytes of a .shp or .dbf beyond which many programs cannot read it."""

_DRIVERS = {
    ".gpkg": "GPKG",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".shp": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
}
OPTIONS: dict[str, dict[str, str]] = {
    "GPKG": {"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": "geom"},
    "GeoJSON": {"RFC7946": "YES"},
    "ESRI Shapefile": {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": "2000-01-01"},
    "FlatGeobuf": {"SPATIAL_INDEX": "YES"},
}
# ^ Without a fixed date the shapefile's bytes would change from day to day.
_DBF_RECORD = 1 + 9 + 80 + 24 + 18 + 24
EARTH_RADII = (6.35e6, 6.39e6)


def check_target(path: Path, grid: Grid, *, overwrite: bool = False) -> None:
    """Refuse, before any work is done, a file that could not or must not be written.

    Raises:
        OutputError: if the ending names no format, or the file exists.
        InputError: if the grid has no CRS, or does not lie on Earth and GeoJSON is asked for.
    """
    if path.suffix.lower() not in _DRIVERS:
        raise OutputError(
            f"{path}: {path.suffix or 'no ending'} is no vector format that can be written; "
            f"end the name in one of {', '.join(sorted(_DRIVERS))}"
        )
    check_free(path, overwrite=overwrite)
    if not grid.crs:
        raise InputError(f"{path}: its features would have no CRS; give the raster its own first")
    if driver_of(path) == "GeoJSON":
        radius = CRS.from_wkt(grid.crs.to_wkt(version="WKT2_2019")).ellipsoid
        if radius is None or not EARTH_RADII[0] < radius.semi_major_metre < EARTH_RADII[1]:
            raise InputError(
                f"{path}: GeoJSON holds places on Earth only (RFC 7946), and this scene's CRS is "
                "of another body; write .gpkg, .shp or .fgb, which keep its CRS"
            )


def driver_of(path: Path) -> str:
    """GDAL's name of the format that a path's ending asks for."""
    return _DRIVERS[path.suffix.lower()]


def layer_name(path: Path) -> str:
    """The layer in the file: ``features``, but a shapefile's is the file."""
    return path.stem if driver_of(path) == "ESRI Shapefile" else LAYER


def geojson_features(path: Path) -> int:
    """The features of a closed GeoJSON of GDAL's, which has one a line; 0 if its end is missing.

    GDAL would take twenty times the file's size of memory to open it.
    """
    count, last = 0, b""
    with path.open("rb") as lines:
        for line in lines:
            count += line.startswith(b'{ "type": "Feature",')
            last = line.strip() or last
    return count if last == b"}" else 0


def refuse_large(
    path: Path, features: int, rings: int, vertices: int, limit: int = SHAPEFILE_LIMIT
) -> None:
    """Refuse a shapefile that many programs could not read.

    Raises:
        OutputError: naming what to write instead.
    """
    # ESRI Shapefile Technical Description (1998): 8 bytes of record header, 44 of polygon header,
    # 4 per ring, 16 per vertex.
    shp = 100 + 52 * features + 4 * rings + 16 * vertices
    size = max(shp, _DBF_RECORD * features)
    if size > limit:
        raise OutputError(
            f"{path}: {features} features would take {size / 2**30:.1f} GB, and a shapefile "
            f"holds {limit / 2**30:.1f}; write .gpkg or .fgb, or give --min-area or --simplify"
        )
