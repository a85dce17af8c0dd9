"""Alerts of a map of change: a point of contact for each loss, as a GeoPackage and as CSV."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyproj
import shapely
from numpy import ndarray
from pyogrio import raw

from geounet.arrow_stream import ArrowStream, Column, binaries
from geounet.csv_table import Cell, write_csv
from geounet.errors import OutputError
from geounet.grid import Grid
from geounet.placing import folder_beside, named, place
from geounet.vector import same_bytes
from geounet.vector_formats import LAYER, OPTIONS
from geounet.vector_stage import FAILURES, column_of, write_stream

FIELDS = (
    ("id", "U"),
    ("date", "U"),
    ("area_ha", "g"),
    ("lon", "g"),
    ("lat", "g"),
    ("score", "g"),
    ("zone", "U"),
)
_PIECE = 20_000


@dataclass(frozen=True)
class AlertSource:
    """Which features of a job's features.gpkg are alerts: those of some classes.

    Attributes:
        features: the file.
        grid: that they were traced on.
        dates: the date of each class value that is a loss, or ``date 2`` where only its place
            among the dates is known.
    """

    features: Path
    grid: Grid
    dates: Mapping[int, str]


def write_alerts(path: Path, source: AlertSource) -> Path:
    """Write alerts as a GeoPackage of their areas, in the order of the features.

    Their ids count them by date. ``lon`` and ``lat`` are of the centroid, in WGS 84; it may lie
    outside of a bent area.

    Raises:
        OutputError: if the file cannot be written.
    """
    with same_bytes(), folder_beside(path) as folder, named(path, *FAILURES):
        new = folder / path.name
        write_stream(
            ArrowStream([*FIELDS, ("geom", "Z")], _columns(source)),
            new,
            "GPKG",
            source.grid.crs.to_wkt(version="WKT2_2019"),
            shown=path,
            dataset_options={"VERSION": "1.2"},
            layer_options=OPTIONS["GPKG"] | {"SPATIAL_INDEX": "YES"},
        )
        _verify(path, new, sum(len(batch.ids) for batch in _batches(source)))
        place(folder, path)
    return path


def write_alert_table(path: Path, source: AlertSource) -> Path:
    """Write alerts as CSV: the fields of the GeoPackage, without their areas.

    Raises:
        OutputError: if the file cannot be written.
    """
    write_csv(path, [name for name, _ in FIELDS], _rows(source))
    return path


def _verify(path: Path, new: Path, count: int) -> None:
    """Open the closed file again: the disk may have filled while it was flushed."""
    found = _one(new, f"SELECT COUNT(*) FROM {LAYER}")
    if found != count:
        raise OutputError(
            f"{path}: holds {found} of {count} alerts after writing; check the disk's free "
            "space and try again"
        )


def _one(path: Path, question: str) -> int:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as data:
        (answer,) = data.execute(question).fetchone()
    return int(answer)


@dataclass(frozen=True)
class _Batch:
    """Some alerts, in columns; ``shape`` is WKB."""

    shape: ndarray
    ids: Sequence[str]
    dates: Sequence[str]
    area_ha: ndarray
    lon: ndarray
    lat: ndarray
    score: ndarray
    zone: Sequence[str]

    @property
    def columns(self) -> tuple[Sequence[str] | ndarray, ...]:
        return (self.ids, self.dates, self.area_ha, self.lon, self.lat, self.score, self.zone)


def _columns(source: AlertSource) -> Iterator[list[Column]]:
    for batch in _batches(source):
        fields = zip(FIELDS, batch.columns, strict=True)
        at = np.zeros(len(batch.shape) + 1, np.int64)
        np.cumsum([len(shape) for shape in batch.shape], out=at[1:])
        shapes = binaries(at, np.frombuffer(b"".join(batch.shape), np.uint8))
        yield [*(column_of(kind, values) for (_, kind), values in fields), shapes]


def _rows(source: AlertSource) -> Iterator[Sequence[Cell]]:
    for batch in _batches(source):
        columns = [c.tolist() if isinstance(c, ndarray) else c for c in batch.columns]
        yield from zip(*columns, strict=True)


def _batches(source: AlertSource) -> Iterator[_Batch]:
    """The features of the classes, read in the memory of one batch."""
    counted = dict.fromkeys(source.dates.values(), 0)
    lonlat = pyproj.Transformer.from_crs(
        pyproj.CRS.from_wkt(source.grid.crs.to_wkt(version="WKT2_2019")), 4326, always_xy=True
    )
    last = _one(source.features, f"SELECT COALESCE(MAX(fid), 0) FROM {LAYER}")
    classes = ", ".join(map(str, source.dates))
    for start in range(0, last, _PIECE):
        where = f"fid > {start} AND fid <= {start + _PIECE} AND class_id IN ({classes})"
        meta, _, shape, values = raw.read(source.features.absolute(), layer=LAYER, where=where)
        if len(shape):
            fields = dict(zip(meta["fields"].tolist(), values, strict=True))
            yield _batch(shape, fields, source.dates, counted, lonlat)


def _batch(
    shape: ndarray,
    fields: Mapping[str, ndarray],
    dates: Mapping[int, str],
    counted: dict[str, int],
    lonlat: pyproj.Transformer,
) -> _Batch:
    centre = shapely.centroid(shapely.from_wkb(shape))
    lon, lat = lonlat.transform(shapely.get_x(centre), shapely.get_y(centre))
    of = [dates[value] for value in fields["class_id"].tolist()]
    zone = fields.get("zone")
    return _Batch(
        shape=shape,
        ids=[_number(date, counted) for date in of],
        dates=of,
        area_ha=fields["area_ha"],
        lon=np.round(lon, 7),
        lat=np.round(lat, 7),
        score=fields["score"],
        zone=[""] * len(shape) if zone is None else zone.tolist(),
    )


def _number(date: str, counted: dict[str, int]) -> str:
    counted[date] += 1
    return f"{date.replace('-', '').replace(' ', '')}-{counted[date]:06d}"
