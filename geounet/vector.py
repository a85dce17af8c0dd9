"""Features become files that any GIS opens: GeoPackage, GeoJSON, shapefile, FlatGeobuf and others.

One pass over the features serves all formats, in memory that one batch fills: they are written to a
GeoPackage, and copied from there to each other format. The same features give the same bytes,
however they were cut into batches; of PMTiles, the same content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import quote

import numpy as np
import pyogrio
from pyogrio import raw

from geounet.atomic import free_at
from geounet.errors import OutputError
from geounet.features import Features
from geounet.placing import check_free, folder_beside, named, place
from geounet.style import vector_qml
from geounet.vector_copies import write_copy, write_geojson
from geounet.vector_formats import (
    LAYER,
    base_of,
    check_target,
    driver_of,
    ending_of,
    geojson_totals,
    layer_name,
)
from geounet.vector_stage import FAILURES, Staged, VectorLayer, stage

__all__ = ["VectorLayer", "write_features"]

_DATE = "2000-01-01T00:00:00.000Z"
_GDAL = {
    "OGR_CURRENT_DATE": _DATE,
    "OGR_SQLITE_SYNCHRONOUS": "OFF",
    "OGR_SQLITE_JOURNAL": "OFF",
}
# ^ A GeoPackage records when it changed. What is written in a temporary folder is flushed once, by
# us, and goes whole when something fails: it needs no journal.
_STALE = {
    ".shp": (".qix", ".sbn", ".sbx", ".idm", ".ind", ".shp.xml"),
    ".gpkg": (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"),
}
# ^ Indexes and changes of the file that was there: SQLite would play them into the new one.
_BY_GEOJSON = ("GeoJSONSeq", "PMTiles")


def _go_on() -> None:
    """Nobody asks to stop."""


@dataclass(frozen=True)
class Resumable:
    """A run that a later one can go on with.

    Attributes:
        ours: of the paths, those that an earlier run placed, and that may be replaced.
        placing: called when all files are made, before the first takes its name.
        work: where files are made, on the disk of all; if left out, beside each.
    """

    ours: Collection[Path] = ()
    placing: Callable[[], None] = _go_on
    work: Path | None = None


def write_features(
    batches: Iterable[Features],
    layer: VectorLayer,
    paths: Sequence[Path],
    *,
    overwrite: bool = False,
    check: Callable[[], None] = _go_on,
    run: Resumable | None = None,
) -> int:
    """Write the features once into each path, in the format that its ending names.

    No file takes its name before all are complete and checked; each has a QGIS style beside it. The
    order of features is kept, but for FlatGeobuf, which sorts them by place for its index.

    Args:
        batches: taken once, in order.
        layer: grid and classes.
        paths: ``.gpkg``, ``.geojson``, ``.geojsonl``, ``.shp``, ``.shp.zip``, ``.fgb``,
            ``.parquet`` or ``.pmtiles``.
        overwrite: replace files that exist.
        check: called before each file is made and before they take their names; raises to stop.
        run: that this is a part of, if a later one can go on with it.

    Returns:
        The number of features.

    Raises:
        OutputError: if a file exists or cannot be written, or a shapefile would be too large.
        InputError: if the scene does not lie on Earth and longitude and latitude are asked for.
    """
    run = run or Resumable()
    for path in paths:
        check_target(path, layer.grid, overwrite=overwrite or path in run.ours)
    with same_bytes(), ExitStack() as folders:
        made = {p: folders.enter_context(folder_beside(p, run.work)) / p.name for p in paths}
        work = folders.enter_context(folder_beside(paths[0], run.work))
        main = next((path for path in paths if driver_of(path) == "GPKG"), None)
        target = work / "staged.gpkg" if main is None else made[main]
        staged = stage(batches, layer, target, index=main is not None, shown=main or paths[0])
        style = vector_qml(layer.classes)
        if main is not None:
            with named(main, *FAILURES):
                _add_style(target, style)
                _verify(staged, target, main)
        _copy({p: new for p, new in made.items() if p != main}, staged, layer, work, check)
        check()
        for path in paths:
            # It may have come into being while the features were made.
            check_free(path, overwrite=overwrite or path in run.ours)
        run.placing()
        _place(made, style, overwrite=overwrite)
    return staged.count


def count_of(path: Path) -> int:
    """The features in a closed file; those of PMTiles are counted once a tile.

    Raises:
        OutputError: if it cannot be read.
    """
    with named(path, *FAILURES):
        return _totals(path.absolute(), path)[0]


def _copy(
    made: Mapping[Path, Path],
    staged: Staged,
    layer: VectorLayer,
    work: Path,
    check: Callable[[], None],
) -> None:
    """Make each file, at its temporary place, from the GeoPackage of all features."""
    geojson = work / "lonlat.geojson"
    for path in sorted(made, key=lambda path: driver_of(path) != "GeoJSON"):
        check()
        new = made[path]
        with named(path, *FAILURES):
            if driver_of(path) in _BY_GEOJSON and not geojson.exists():
                write_geojson(staged, layer, geojson, path)
            write_copy(staged, layer, new, path, geojson)
            _verify(staged, new, path)
        if driver_of(path) == "GeoJSON":
            geojson = new


def _place(made: dict[Path, Path], style: str, *, overwrite: bool) -> None:
    """Give the files and what belongs to them their names, the one that was named first last."""
    for path in reversed(made):
        new = made[path]
        with named(path, *FAILURES):
            beside = path.with_name(f"{base_of(path)}.qml")
            if overwrite or not beside.exists():
                (new.parent / beside.name).write_text(style, encoding="utf-8")
            for stale in _STALE.get(ending_of(path), ()):
                path.with_name(base_of(path) + stale).unlink(missing_ok=True)
            place(new.parent, path)


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
    raw.write(path, None, columns, tuple(row), layer="layer_styles", driver="GPKG", append=True)


def _verify(staged: Staged, new: Path, path: Path) -> None:
    """Open the closed file again: the disk may have filled while it was flushed."""
    found, expected = _totals(new, path), (staged.count, staged.pixels)
    if driver_of(path) == "PMTiles":
        # A feature is in many tiles, and one too small for any is in none.
        found = expected if bool(found[0]) == bool(staged.count) else found
    if found != expected:
        raise OutputError(
            f"{path}: holds {found[0]} of {staged.count} features and {found[1]} of "
            f"{staged.pixels} pixels after writing ({free_at(new)}); check the disk and try again"
        )


def _totals(new: Path, path: Path) -> tuple[int, int]:
    """Features of a closed file, and their pixels."""
    driver = driver_of(path)
    if driver in ("GeoJSON", "GeoJSONSeq"):
        return geojson_totals(new)
    if driver == "GPKG":
        with closing(sqlite3.connect(f"file:{quote(str(new))}?mode=ro", uri=True)) as data:
            count, pixels = data.execute(f"SELECT COUNT(*), SUM(n_px) FROM {LAYER}").fetchone()
        return count, pixels or 0
    if driver == "Parquet":
        # Only the extra [parquet] has it.
        from pyarrow import parquet

        pixels = parquet.read_table(new, columns=["n_px"]).column(0).to_numpy()
        return len(pixels), int(pixels.sum())
    if driver == "PMTiles":
        return pyogrio.read_info(new, force_feature_count=True)["features"], 0
    name = layer_name(path)
    _, _, _, fields = raw.read(new, layer=name, columns=["n_px"], read_geometry=False)
    # A .dbf whose end is missing is left out, and its fields with it.
    return (len(fields[0]), int(fields[0].sum())) if fields else (0, 0)


_SAME_BYTES = Lock()


@contextmanager
def same_bytes() -> Iterator[None]:
    """GDAL's options for the length of a block, under which the same data give the same file.

    They are those of the process, so that one thread at a time may be in such a block.
    """
    with _SAME_BYTES:
        yield from _with_options()


def _with_options() -> Iterator[None]:
    before = {name: pyogrio.get_gdal_config_option(name) for name in _GDAL}
    pyogrio.set_gdal_config_options(_GDAL)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
