"""Features become files that any GIS opens: GeoPackage, GeoJSON, shapefile, FlatGeobuf.

Batches go into a GeoPackage without an index first, and from there as a stream into each format
asked for: one pass over the features serves all formats, in memory that one batch fills, and no
format depends on how the features were cut into batches. The same features give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy import ndarray
from pyogrio import errors
from pyogrio.raw import write as write_columns

from geounet.errors import OutputError
from geounet.grid import Grid
from geounet.placing import folder_beside, named, place
from geounet.polygonize import Features
from geounet.style import AnyClass, vector_qml
from geounet.vector_formats import (
    EARTH_RADII,
    LAYER,
    OPTIONS,
    check_target,
    driver_of,
    geojson_features,
    layer_name,
    refuse_large,
)

FIELDS = ("class_id", "class", "area_ha", "n_px", "confidence")
_DATE = "2000-01-01T00:00:00.000Z"
_STALE = (".qix", ".sbn", ".sbx", ".idm", ".ind", ".shp.xml")
_STREAM = 4096
_TAN_88 = 28.6
_FAILURES = (
    *(errors.CRSError, errors.DataLayerError, errors.DataSourceError),
    *(errors.FeatureError, errors.FieldError, errors.GeometryError),
    OSError,
)


@dataclass(frozen=True)
class VectorLayer:
    """What all features of a file share: the grid that they were traced on, and their classes."""

    grid: Grid
    classes: tuple[AnyClass, ...]

    @property
    def wkt(self) -> str:
        """The scene's CRS in full: a name or number might stand for another one."""
        return self.grid.crs.to_wkt(version="WKT2_2019")


@dataclass(frozen=True)
class _Staged:
    path: Path
    count: int
    vertices: int
    rings: int


def write_features(
    batches: Iterable[Features],
    layer: VectorLayer,
    paths: Sequence[Path],
    *,
    overwrite: bool = False,
) -> int:
    """Write the features once into each path, in the format that its ending names.

    Every file is complete and checked when it takes its name, and has a QGIS style beside it. The
    order of features is kept, but for FlatGeobuf, which sorts them by place for its index.

    Args:
        batches: taken once, in order.
        layer: grid and classes.
        paths: ``.gpkg``, ``.geojson``, ``.shp`` or ``.fgb``.
        overwrite: replace files that exist.

    Returns:
        The number of features.

    Raises:
        OutputError: if a file exists or cannot be written, or a shapefile would be too large.
        InputError: if the scene does not lie on Earth and GeoJSON is asked for.
    """
    for path in paths:
        check_target(path, layer.grid, overwrite=overwrite)
    with _fixed_dates(), folder_beside(paths[0]) as work:
        dense = (
            any(driver_of(path) == "GeoJSON" for path in paths) and not layer.grid.crs.is_geographic
        )
        plain, densified = _stage(batches, layer, work, dense=dense)
        for path in paths:
            staged = densified if densified and driver_of(path) == "GeoJSON" else plain
            _write_one(staged, layer, path)
    return plain.count


def _stage(
    batches: Iterable[Features], layer: VectorLayer, work: Path, *, dense: bool
) -> tuple[_Staged, _Staged | None]:
    """The features in a file of their own, and once more with long edges cut, if ``dense``."""
    plain, cut = work / "plain.gpkg", work / "cut.gpkg"
    longest = _longest_edge(layer.grid) if dense else 0.0
    count = vertices = rings = 0
    _append(plain, _nothing(), layer)
    if dense:
        _append(cut, _nothing(), layer)
    for batch in batches:
        _append(plain, batch, layer)
        if dense:
            _append(cut, batch, layer, shapely.segmentize(batch.polygon, longest))
        count += len(batch)
        vertices += int(shapely.get_num_coordinates(batch.polygon).sum())
        rings += int(shapely.get_num_interior_rings(batch.polygon).sum()) + len(batch)
    return _Staged(plain, count, vertices, rings), (
        _Staged(cut, count, vertices, rings) if dense else None
    )


def _longest_edge(grid: Grid) -> float:
    """How long an edge may be, in CRS units, before GeoJSON shows it elsewhere.

    Only the ends of an edge are moved to longitude and latitude. The straight line between them
    leaves the true one by length² · tan(latitude) / (8 · Earth's radius): 200 m for 100 km at 45°.
    The length given keeps that below a twentieth of a pixel up to 88°.
    """
    metres = float(grid.crs.linear_units_factor[1])
    pixel = min(grid.pixel_size) * metres
    return sqrt(8 * EARTH_RADII[0] * 0.05 * pixel / _TAN_88) / metres


def _append(
    path: Path, batch: Features, layer: VectorLayer, polygons: ndarray | None = None
) -> None:
    names = {c.value: c.name for c in layer.classes}
    columns = [
        batch.class_id.astype(np.int32),
        np.array([names.get(v, str(v)) for v in batch.class_id.tolist()], object),
        batch.area_ha.astype(np.float64),
        batch.n_px.astype(np.int64),
        batch.confidence.astype(np.float64),
    ]
    with named(path, *_FAILURES):
        write_columns(
            path,
            shapely.to_wkb(batch.polygon if polygons is None else polygons),
            columns,
            FIELDS,
            layer=LAYER,
            driver="GPKG",
            geometry_type="Polygon",
            crs=layer.wkt,
            append=path.exists(),
            layer_options={"SPATIAL_INDEX": "NO"},
        )


def _nothing() -> Features:
    empty = np.empty(0)
    return Features(np.empty(0, object), empty, empty, empty, empty)


def _write_one(staged: _Staged, layer: VectorLayer, path: Path) -> None:
    driver = driver_of(path)
    if driver == "ESRI Shapefile":
        refuse_large(path, staged.count, staged.rings, staged.vertices)
    style = vector_qml(layer.classes)
    with folder_beside(path) as folder, named(path, *_FAILURES):
        new = folder / path.name
        with pyogrio.open_arrow(staged.path, layer=LAYER, batch_size=_STREAM) as (meta, stream):
            pyogrio.write_arrow(
                stream,
                new,
                layer=layer_name(path),
                driver=driver,
                geometry_name=meta["geometry_name"] or "geom",
                geometry_type="Polygon",
                crs=layer.wkt,
                layer_options=OPTIONS[driver],
            )
        if driver == "GPKG":
            _add_style(new, style)
        _verify(new, path, staged.count)
        (folder / f"{path.stem}.qml").write_text(style, encoding="utf-8")
        for stale in _STALE if driver == "ESRI Shapefile" else ():
            path.with_suffix(stale).unlink(missing_ok=True)
        place(folder, path)


def _add_style(path: Path, style: str) -> None:
    """QGIS reads the table ``layer_styles`` of a GeoPackage, and applies its default."""
    row: dict[str, object] = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": LAYER,
        "f_geometry_column": "geom",
        "styleName": "classes",
        "styleQML": style,
        "styleSLD": "",
        "useAsDefault": True,
        "description": "class colours",
        "owner": "",
        "ui": "",
        "update_time": np.datetime64(_DATE[:-1], "ms"),
    }
    columns = [
        np.array([value], object if isinstance(value, str) else None) for value in row.values()
    ]
    write_columns(path, None, columns, tuple(row), layer="layer_styles", driver="GPKG", append=True)


def _verify(new: Path, path: Path, count: int) -> None:
    """Open the closed file again: the disk may have filled while it was flushed."""
    if driver_of(path) == "GeoJSON":
        found = geojson_features(new)
    else:
        found = pyogrio.read_info(new, force_feature_count=True, layer=layer_name(path))["features"]
    if found != count:
        raise OutputError(
            f"{path}: holds {found} of {count} features after writing; "
            "check the disk's free space and try again"
        )


@contextmanager
def _fixed_dates() -> Iterator[None]:
    """GDAL's notion of now, for the length of a block: a GeoPackage records when it changed."""
    name = "OGR_CURRENT_DATE"
    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: _DATE})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})
