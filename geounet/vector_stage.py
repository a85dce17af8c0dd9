"""Features become one GeoPackage, in one pass and in memory that one batch fills.

It is the file that was asked for, or lies in a temporary folder, and every other format is copied
from it: no format depends on how the features were cut into batches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyogrio
from numpy import ndarray
from pyogrio import errors, raw

from geounet.arrow_stream import ArrowStream, Column, binaries, floats, integers
from geounet.features import Features
from geounet.grid import Grid
from geounet.placing import named
from geounet.polygon_array import concatenated, wkb_of
from geounet.style import AnyClass, printable
from geounet.vector_formats import LAYER, OPTIONS

FIELDS = (
    ("class_id", "i"),
    ("class", "U"),
    ("area_ha", "g"),
    ("n_px", "l"),
    ("perim_m", "g"),
    ("confidence", "g"),
    ("conf_min", "g"),
)
"""Names, of 10 characters at most for shapefiles, and Arrow's format of each."""
ZONE = ("zone", "U")
_AS_SCORE = {"confidence": "score", "conf_min": "score_min"}
FAILURES = (
    *(errors.CRSError, errors.DataLayerError, errors.DataSourceError),
    *(errors.FeatureError, errors.FieldError, errors.GeometryError),
    *(OSError, sqlite3.Error),
)
"""What is raised where a file cannot be written."""
_BATCH = 50_000
_PIECE = 20_000


@dataclass(frozen=True)
class VectorLayer:
    """What all features of a file share.

    Args:
        grid: that they were traced on.
        classes: what their values mean.
        zones: True if they have zones; needed only for a file without features.
        measure: what their confidence is called.
    """

    grid: Grid
    classes: tuple[AnyClass, ...]
    zones: bool = False
    measure: Literal["confidence", "score"] = "confidence"

    @property
    def wkt(self) -> str:
        """The scene's CRS in full: a name or number might stand for another one."""
        return self.grid.crs.to_wkt(version="WKT2_2019")

    def fields(self, zoned: bool) -> tuple[tuple[str, str], ...]:
        """Names and kinds of the features' fields."""
        other = {} if self.measure == "confidence" else _AS_SCORE
        named = tuple((other.get(name, name), kind) for name, kind in FIELDS)
        return (*named, ZONE) if zoned else named


@dataclass(frozen=True)
class Staged:
    """A GeoPackage of all features, and what they add up to.

    Attributes:
        longest: bytes of the longest text.
    """

    path: Path
    fields: tuple[tuple[str, str], ...]
    count: int = 0
    pixels: int = 0
    rings: int = 0
    vertices: int = 0
    longest: int = 0


def stage(
    batches: Iterable[Features], layer: VectorLayer, path: Path, *, index: bool, shown: Path
) -> Staged:
    """Write the features to ``path``, with a spatial index if asked; errors name ``shown``."""
    features = iter(batches)
    first = next(features, None)
    zoned = layer.zones if first is None else first.zone is not None
    tally = _Tally(Staged(path, layer.fields(zoned)))
    every = features if first is None else chain([first], features)
    # Programs of 2022 warn of the version that GDAL takes by itself.
    write_stream(
        ArrowStream([*tally.sums.fields, ("geom", "Z")], tally.columns(every, layer)),
        path,
        "GPKG",
        layer.wkt,
        shown=shown,
        dataset_options={"VERSION": "1.2"},
        layer_options=OPTIONS["GPKG"] | {"SPATIAL_INDEX": "YES" if index else "NO"},
    )
    return tally.sums


def recut(batches: Iterable[Features], size: int) -> Iterator[Features]:
    """The same features in batches of ``size``, and a last one of what is left.

    A GeoPackage counts its changes, so that how its features came would show in its bytes.
    """
    held: list[Features] = []
    count = 0
    for batch in batches:
        start = 0
        while len(batch) - start >= size - count:
            stop = start + size - count
            yield _joined([*held, _part(batch, slice(start, stop))])
            held, count, start = [], 0, stop
        if start < len(batch):
            held.append(_part(batch, slice(start, len(batch))))
            count += len(batch) - start
    if held:
        yield _joined(held)


def _part(batch: Features, part: slice) -> Features:
    if part == slice(0, len(batch)):
        return batch
    columns = {f.name: getattr(batch, f.name) for f in dataclass_fields(batch)}
    return replace(batch, **{k: v[part] for k, v in columns.items() if v is not None})


def _joined(batches: Sequence[Features]) -> Features:
    if len(batches) == 1:
        return batches[0]
    columns = {f.name: [getattr(b, f.name) for b in batches] for f in dataclass_fields(Features)}
    known = {name: parts for name, parts in columns.items() if parts[0] is not None}
    return replace(batches[0], **{name: concatenated(parts) for name, parts in known.items()})


class _Tally:
    """What goes by is added up, since nothing is seen twice."""

    def __init__(self, sums: Staged) -> None:
        self.sums = sums

    def columns(self, batches: Iterable[Features], layer: VectorLayer) -> Iterator[list[Column]]:
        names = {c.value: c.name for c in layer.classes}
        for batch in recut(batches, _BATCH):
            yield self._of(batch, names)

    def _of(self, batch: Features, names: dict[int, str]) -> list[Column]:
        shapes = wkb_of(batch.polygon)
        class_id = batch.class_id.tolist()
        texts = {v: names.get(v, str(v)) for v in set(class_id)}
        values: list[Any] = [
            batch.class_id,
            [texts[v] for v in class_id],
            batch.area_ha,
            batch.n_px,
            batch.perimeter_m,
            batch.confidence,
            batch.confidence_min,
        ]
        if batch.zone is not None:
            values.append(batch.zone.tolist())
        kinds = [kind for _, kind in self.sums.fields]
        columns = [column_of(kind, v) for kind, v in zip(kinds, values, strict=True)]
        sums = self.sums
        self.sums = replace(
            sums,
            count=sums.count + len(batch),
            pixels=sums.pixels + int(batch.n_px.sum()),
            rings=sums.rings + shapes.rings,
            vertices=sums.vertices + shapes.vertices,
            longest=max(sums.longest, *(column.longest for column in columns)),
        )
        return [*columns, binaries(shapes.at, shapes.data)]


def column_of(kind: str, values: Any) -> Column:
    """Values of a field as Arrow's ``kind`` wants them; texts lose what XML and C cannot hold."""
    if kind == "g":
        return floats(values)
    if kind != "U":
        return integers(values, np.int32 if kind == "i" else np.int64)
    texts = {text: printable(text).encode("utf-8", "replace") for text in set(values)}
    parts = [texts[text] for text in values]
    at = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=at[1:])
    return binaries(at, np.frombuffer(b"".join(parts), np.uint8))


def pieces(staged: Staged) -> Iterator[tuple[ndarray, list[ndarray]]]:
    """WKB and fields of some features at a time, in order."""
    for start in range(0, staged.count, _PIECE):
        where = f"fid > {start} AND fid <= {start + _PIECE}"
        _, _, shapes, fields = raw.read(staged.path, layer=LAYER, where=where)
        yield shapes, list(fields)


def write_stream(
    stream: Any, path: Path, driver: str, wkt: str, *, shown: Path, **options: Any
) -> None:
    """Write a stream of Arrow by GDAL; what made one of ours fail is raised as it was.

    Args:
        stream: with the geometry in the column ``geom``.
        path: the file to write.
        driver: GDAL's name of the format.
        wkt: the CRS.
        shown: the file that errors name.
        options: others of `pyogrio.write_arrow`.
    """
    given = {"layer": LAYER, "geometry_name": "geom", "geometry_type": "Polygon"} | options
    try:
        with named(shown, *FAILURES):
            pyogrio.write_arrow(stream, path, driver=driver, crs=wkt, **given)
    except Exception:
        _raise_cause(stream)
        raise
    _raise_cause(stream)


def _raise_cause(stream: Any) -> None:
    if isinstance(stream, ArrowStream) and stream.failure is not None:
        raise stream.failure from None


def field_columns(
    fields: Sequence[tuple[str, str]], values: Sequence[ndarray], *, longest: int | None = None
) -> list[Column]:
    """Columns of what `pieces` read, with texts cut to ``longest`` bytes."""
    return [
        column_of(kind, [_cut(text, longest) for text in v] if kind == "U" else v)
        for (_, kind), v in zip(fields, values, strict=True)
    ]


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None else text.encode()[:longest].decode("utf-8", "ignore")
