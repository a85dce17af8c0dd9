"""From the GeoPackage of all features to each other format.

GDAL streams them as they are; what it would get wrong is changed on the way: long edges are cut
before they are bent into longitude and latitude, long texts end between two characters.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pyogrio
import shapely
from pyproj import CRS

from geounet.arrow_stream import ArrowStream, Column, binaries
from geounet.grid import Grid
from geounet.polygon_array import wkb_of
from geounet.vector_formats import (
    DBF_TEXT,
    EARTH_RADII,
    LAYER,
    OPTIONS,
    base_of,
    dbf_record,
    driver_of,
    ending_of,
    feature_lines,
    layer_name,
    refuse_large,
)
from geounet.vector_stage import Staged, VectorLayer, field_columns, pieces, write_stream
from geounet.vector_tiles import write_tiles

_ROWS = 50_000
_STREAM = 4096
_TAN_88 = 28.6
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def write_copy(staged: Staged, layer: VectorLayer, new: Path, path: Path, geojson: Path) -> None:
    """Write all features to ``new``, which will become ``path``.

    Args:
        staged: the features.
        layer: what they share.
        new: in a folder of its own, with the name of ``path``.
        path: its ending names the format.
        geojson: the same features as a GeoJSON, for the formats that are made of it.
    """
    driver = driver_of(path)
    if driver == "GPKG":
        shutil.copyfile(staged.path, new)
    elif driver == "ESRI Shapefile":
        _write_shapefile(staged, layer, new, path)
    elif driver == "GeoJSON":
        write_geojson(staged, layer, new, path)
    elif driver == "GeoJSONSeq":
        feature_lines(geojson, new)
    elif driver == "Parquet":
        _write_parquet(staged, layer, new)
    elif driver == "PMTiles":
        write_tiles(staged, layer, new, path, geojson)
    else:
        _copy(staged, layer, new, path)


def _copy(staged: Staged, layer: VectorLayer, new: Path, path: Path) -> None:
    with pyogrio.open_arrow(staged.path, layer=LAYER, batch_size=_STREAM) as (_, stream):
        _write(stream, layer, new, path)


def _write(stream: object, layer: VectorLayer, new: Path, path: Path) -> None:
    driver = driver_of(new)
    options = {"layer": layer_name(new), "layer_options": OPTIONS[driver]}
    write_stream(stream, new, driver, layer.wkt, shown=path, **options)


def write_geojson(staged: Staged, layer: VectorLayer, new: Path, path: Path) -> None:
    """RFC 7946 by GDAL: split at ±180°, shells counter-clockwise, 7 decimals. Errors name ``path``.

    Only the ends of an edge are moved to longitude and latitude, so that long ones are cut first.
    """
    if layer.grid.crs.is_geographic:
        _copy(staged, layer, new, path)
        return
    longest = _longest_edge(layer.grid)

    def cut() -> Iterator[list[Column]]:
        for shapes, fields in pieces(staged):
            wkb = wkb_of(shapely.segmentize(shapely.from_wkb(shapes), longest))
            yield [*field_columns(staged.fields, fields), binaries(wkb.at, wkb.data)]

    _write(ArrowStream([*staged.fields, ("geom", "Z")], cut()), layer, new, path)


def _longest_edge(grid: Grid) -> float:
    """How long an edge may be, in CRS units, before GeoJSON shows it elsewhere.

    The straight line between two moved points leaves the true one by length² · tan(latitude) /
    (8 · Earth's radius): 200 m for 100 km at 45°. The length given keeps that below a twentieth of
    a pixel up to 88°.
    """
    metres = float(grid.crs.linear_units_factor[1])
    pixel = min(grid.pixel_size) * metres
    return sqrt(8 * EARTH_RADII[0] * 0.05 * pixel / _TAN_88) / metres


def _write_shapefile(staged: Staged, layer: VectorLayer, new: Path, path: Path) -> None:
    record = dbf_record([kind for _, kind in staged.fields], staged.longest)
    refuse_large(path, staged.count, staged.rings, staged.vertices, record)
    zipped = ending_of(path) == ".shp.zip"
    main = new.with_name(f"{base_of(path)}.shp")
    if staged.longest <= DBF_TEXT:
        _copy(staged, layer, main, path)
    else:
        _write(_short_texts(staged), layer, main, path)
    if zipped:
        parts = sorted(p for p in main.parent.iterdir() if p.stem == main.stem and p != new)
        _zip(parts, new)


def _short_texts(staged: Staged) -> ArrowStream:
    def batches() -> Iterator[list[Column]]:
        for shapes, fields in pieces(staged):
            wkb = wkb_of(shapely.from_wkb(shapes))
            columns = field_columns(staged.fields, fields, longest=DBF_TEXT)
            yield [*columns, binaries(wkb.at, wkb.data)]

    return ArrowStream([*staged.fields, ("geom", "Z")], batches())


def _zip(parts: list[Path], new: Path) -> None:
    """The parts in one archive, and nowhere else; the same parts give the same bytes."""
    with ZipFile(new, "w") as archive:
        for part in parts:
            about = ZipInfo(part.name, _ZIP_DATE)
            about.compress_type, about.external_attr = ZIP_DEFLATED, 0o644 << 16
            about.create_system = 3
            about.file_size = part.stat().st_size
            with part.open("rb") as file, archive.open(about, "w") as place:
                shutil.copyfileobj(file, place, 2**20)
            part.unlink()


def _write_parquet(staged: Staged, layer: VectorLayer, new: Path) -> None:
    """GeoParquet 1.1 with row groups of a fixed size."""
    # Only the extra [parquet] has it.
    import pyarrow as pa
    from pyarrow import parquet

    opened = pyogrio.open_arrow(staged.path, layer=LAYER, batch_size=_ROWS, use_pyarrow=True)
    with opened as (_, reader):
        kinds = {"geom": pa.binary(), "U": pa.string(), "g": pa.float64()}
        kinds |= {"i": pa.int32(), "l": pa.int64()}
        fields = [pa.field(name, kinds[kind]) for name, kind in staged.fields]
        schema = pa.schema(
            [*fields, pa.field("geometry", kinds["geom"])],
            metadata={"geo": json.dumps(_geo(staged, layer))},
        )
        with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            for batch in reader:
                columns = [batch.column(name) for name, _ in staged.fields]
                arrays = [*columns, batch.column("geom")]
                cast = [a.cast(f.type) for a, f in zip(arrays, schema, strict=True)]
                writer.write_batch(pa.record_batch(cast, schema=schema), row_group_size=_ROWS)


def _geo(staged: Staged, layer: VectorLayer) -> dict[str, object]:
    """The key ``geo`` of GeoParquet 1.1.0 (geoparquet.org/releases/v1.1.0)."""
    about: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_wkt(layer.wkt).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
    }
    if staged.count:
        bounds = pyogrio.read_info(staged.path, layer=LAYER, force_total_bounds=True)
        about["bbox"] = [float(v) for v in bounds["total_bounds"]]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
