"""The points to interpret, as a GeoPackage: places without the map's class, and fields to fill in.

Layer ``points`` has a point at each pixel's centre and the fields id, class, confidence and
comment; layer ``pixels`` the outline of what is to be interpreted. A QGIS style in the file makes
``class`` a list to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from jaxtyping import Bool, Int
from numpy import ndarray
from pyogrio import errors
from pyogrio.raw import write as write_columns

from geounet.assess.form import form_qml
from geounet.errors import InputError, OutputError
from geounet.grid import Grid
from geounet.placing import folder_beside, named, place
from geounet.small_file import refuse_special

POINTS, PIXELS = "points", "pixels"
FIELDS = ("id", "class", "confidence", "comment")
_DATE = "2000-01-01T00:00:00.000Z"
_MAGIC = b"SQLite format 3\0"
_FAILURES = (
    *(errors.CRSError, errors.DataLayerError, errors.DataSourceError),
    *(errors.FeatureError, errors.FieldError, errors.GeometryError),
    OSError,
)


@dataclass(frozen=True)
class Interpreted:
    """What came back: an entry per point; ``rows`` and ``cols`` name the pixel it lies in now.

    ``id`` is −1, and ``text`` empty, where the file has none.
    """

    id: Int[ndarray, " point"]
    rows: Int[ndarray, " point"]
    cols: Int[ndarray, " point"]
    text: tuple[str, ...]

    def where(self, mask: Bool[ndarray, " point"]) -> Interpreted:
        """Only the points that ``mask`` has."""
        text = tuple(t for t, kept in zip(self.text, mask.tolist(), strict=True) if kept)
        return Interpreted(self.id[mask], self.rows[mask], self.cols[mask], text)


def write_points(
    path: Path,
    grid: Grid,
    rows: Int[ndarray, " point"],
    cols: Int[ndarray, " point"],
    classes: Sequence[str],
) -> None:
    """Points 1, 2, … at the centres of pixels, with nothing filled in.

    Raises:
        OutputError: if the file cannot be written.
    """
    ids = np.arange(1, len(rows) + 1, dtype=np.int64)
    empty = np.full(len(ids), None, object)
    x, y = _through(grid.transform, cols + 0.5, rows + 0.5)
    corners = [
        np.stack(_through(grid.transform, cols + i, rows + j), -1)
        for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    outlines = shapely.polygons(np.stack(corners, 1))
    wkt = grid.crs.to_wkt(version="WKT2_2019")
    with folder_beside(path) as folder, named(path, *_FAILURES):
        new = folder / path.name
        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        # A GeoPackage says when it was changed: the same sample would not give the same bytes.
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
        try:
            _write(new, POINTS, shapely.points(x, y), [ids, empty, empty, empty], wkt)
            _write(new, PIXELS, outlines, [ids], wkt)
            _add_form(new, classes)
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
        check_whole(new, path, len(ids))
        place(folder, path)


def check_whole(new: Path, path: Path, count: int) -> None:
    """Open the closed file again: the disk may have filled while it was flushed.

    Raises:
        OutputError: if a layer lacks points; ``path`` is the name that the file would get.
    """
    for layer in (POINTS, PIXELS):
        found = pyogrio.read_info(new, layer=layer, force_feature_count=True)["features"]
        if found != count:
            raise OutputError(
                f"{path}: layer {layer} holds {found} of {count} features after writing; check the "
                "disk's free space and try again"
            )


def read_points(path: Path, grid: Grid) -> Interpreted:
    """The points of a GeoPackage, on the pixels of ``grid``, whatever CRS they were saved in.

    Raises:
        InputError: if it is no GeoPackage of points with a field ``class``, or one has no place.
    """
    _check_kind(path)
    try:
        # A name such as s3:points.gpkg would send GDAL to a server.
        file = path.absolute()
        layers = [str(name) for name, _ in pyogrio.list_layers(file)]
        layer = POINTS if POINTS in layers or not layers else layers[0]
        frame = pyogrio.read_dataframe(file, layer=layer, force_2d=True)
    except (*_FAILURES, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read: {' '.join(str(error).split())}; export it again from your "
            "GIS as GeoPackage"
        ) from error
    if "class" not in frame.columns or not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(
            f"{path}: layer {layer} has no points with a field `class`; give the file that "
            "`geounet assess design` wrote, filled in"
        )
    if frame.crs is None:
        raise InputError(f"{path}: names no coordinate reference system; write it with ogr2ogr")
    if not (frame.geom_type == "Point").all() or frame.geometry.is_empty.any():
        raise InputError(f"{path}: layer {layer} has features that are no points; remove them")
    places = frame.geometry.to_crs(grid.crs.to_wkt(version="WKT2_2019"))
    cols, rows = _through(~grid.transform, places.x.to_numpy(), places.y.to_numpy())
    ids = frame["id"] if "id" in frame.columns else np.full(len(frame), -1)
    rows, cols = (np.floor(axis).astype(np.int64) for axis in (rows, cols))
    return Interpreted(_whole(ids), rows, cols, tuple(_text(v) for v in frame["class"]))


def _through(t: Affine, x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def _check_kind(path: Path) -> None:
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if path.suffix.lower() != ".gpkg" or head != _MAGIC:
        raise InputError(f"{path}: is no GeoPackage; export the points as .gpkg from your GIS")


def _whole(ids: Sequence[object] | ndarray) -> Int[ndarray, " point"]:
    """Ids as numbers, whatever a GIS made of them; −1 for what is none."""
    texts = [_text(v) for v in ids]
    return np.array([int(t) if t.isdecimal() else -1 for t in texts], np.int64)


def _text(value: object) -> str:
    """A field as the interpreter meant it: a class value may have come back as 3.0."""
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()  # type: ignore[call-overload]


def _write(path: Path, layer: str, shapes: ndarray, columns: list[ndarray], wkt: str) -> None:
    write_columns(
        path,
        shapely.to_wkb(shapes),
        columns,
        FIELDS[: len(columns)],
        layer=layer,
        driver="GPKG",
        geometry_type="Point" if layer == POINTS else "Polygon",
        crs=wkt,
        append=path.exists(),
        layer_options={"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": "geom"},
    )


def _add_form(path: Path, classes: Sequence[str]) -> None:
    """QGIS reads the table ``layer_styles`` of a GeoPackage, and applies its default."""
    row: dict[str, object] = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": POINTS,
        "f_geometry_column": "geom",
        "styleName": "form",
        "styleQML": form_qml(classes),
        "styleSLD": "",
        "useAsDefault": True,
        "description": "a list of classes to choose from",
        "owner": "",
        "ui": "",
        "update_time": np.datetime64(_DATE[:-1], "ms"),
    }
    columns = [np.array([v], object if isinstance(v, str) else None) for v in row.values()]
    write_columns(path, None, columns, tuple(row), layer="layer_styles", driver="GPKG", append=True)
