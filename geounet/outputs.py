"""What a finished job leaves in its folder: mask, layers on request, polygons; its table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import fsum, nan
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from geounet.area import HECTARE
from geounet.card import LandClass, ModelCard
from geounet.cog import CogStyle, Piece, write_cog
from geounet.errors import PartialError
from geounet.features import Features
from geounet.fingerprint import sha256_of
from geounet.grid import Grid, Tile
from geounet.job import Job
from geounet.settings import JobSettings, LandcoverSettings, SegmentSettings
from geounet.small_file import read_ours
from geounet.stop import Talk
from geounet.store import HIDDEN, TileRecord, TileStore
from geounet.tile_labels import TileLabels, layer_of
from geounet.tracing import Source, trace
from geounet.vector import VectorLayer, write_features
from geounet.vector_formats import base_of, ending_of
from geounet.vectorization import polygon_options, with_zones, zones_of
from geounet.versions import versions

VECTOR_FILES = {
    ".gpkg": (".gpkg",),
    ".geojson": (".geojson",),
    ".geojsonl": (".geojsonl",),
    ".shp": (".shp", ".shx", ".dbf", ".prj", ".cpg"),
    ".shp.zip": (".shp.zip",),
    ".fgb": (".fgb",),
    ".parquet": (".parquet",),
    ".pmtiles": (".pmtiles",),
}


REPORTS = ("report.html", "report.json")


@dataclass(frozen=True)
class ClassArea:
    """One line of the class table; areas are geodesic, from pixels before any cleaning."""

    value: int
    name: str
    pixels: int
    area_ha: float
    share: float


@dataclass(frozen=True)
class MapSource:
    """What is mapped: the grid, its tiles with their records, the classes, the provenance."""

    grid: Grid
    tiles: Sequence[Tile]
    records: Mapping[str, TileRecord]
    classes: tuple[LandClass, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Added:
    """What a job adds to its features on their way to the files.

    Attributes:
        to: takes the batches of features and gives them back, with more in them or looked at.
        measure: what their confidence is called.
    """

    to: Callable[[Iterator[Features]], Iterator[Features]] = iter
    measure: Literal["confidence", "score"] = "confidence"


@dataclass(frozen=True)
class Results:
    """What a job gives back."""

    out: Path
    files: tuple[Path, ...]
    classes: tuple[ClassArea, ...]
    hidden_ha: float
    nodata_pixels: int
    features: int
    legend: tuple[LandClass, ...] = ()


class MapWithHolesError(PartialError):
    """The map is written, and some of its tiles have no data: they could not be done."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def output_names(settings: SegmentSettings | LandcoverSettings) -> tuple[str, ...]:
    """The files that a job with these settings will write, the mask last of the rasters."""
    layers = ("confidence", "probabilities")
    vectors = [f"features.{name}" for name in settings.vector_formats]
    return (
        *(f"{name}.tif" for name in layers if getattr(settings, name, False)),
        "mask.tif",
        *vectors,
        *REPORTS,
    )


def write_rasters(
    out: Path, source: MapSource, store: TileStore, settings: SegmentSettings | LandcoverSettings
) -> list[Path]:
    """mask.tif, and confidence.tif and probabilities.tif if asked for; returns their paths."""
    tags = dict(source.tags)
    names = tuple(c.name for c in source.classes)
    styles = {
        "confidence": CogStyle(bands=("confidence in %",), tags=tags),
        "probabilities": CogStyle(bands=names, tags=tags),
        "mask": CogStyle(classes=source.classes, tags=tags),
    }
    paths = []
    for layer, style in styles.items():
        if layer == "mask" or getattr(settings, layer, False):
            path = out / f"{layer}.tif"
            # Whether it may be replaced was settled when the job began.
            write_cog(path, source.grid, pieces_of(source, store, layer), style, overwrite=True)
            paths.append(path)
    return paths


def write_rasters_and_vectors(
    client: Client,
    job: Job,
    source: MapSource,
    talk: Talk,
    settings: SegmentSettings | LandcoverSettings,
) -> tuple[list[Path], int]:
    """What a map of land cover leaves but its reports; also the number of features."""
    rasters = write_rasters(job.out, source, job.store, settings)
    vectors, count = write_vectors(client, job, source, settings, talk)
    return [*rasters, *vectors], count


def write_vectors(
    client: Client,
    job: Job,
    source: MapSource,
    settings: JobSettings,
    talk: Talk,
    added: Added | None = None,
) -> tuple[list[Path], int]:
    """features.* in every format asked for; returns their paths and the number of features.

    Args:
        client: of the Dask workers.
        job: whose tiles are all done.
        source: what is mapped.
        settings: which features, and in which formats.
        talk: is told of progress; and tells whether to stop.
        added: what else is known of the features.

    Raises:
        InterruptedJobError: if a stop was asked for before they were traced.
    """
    out, store = job.out, job.store
    paths = [out / f"features.{name}" for name in settings.vector_formats]
    if not paths:
        return [], 0
    layers = {
        name: layer_of(store, name, source.tiles, source.records) for name in ("mask", "confidence")
    }
    mapped = Source(source.grid, TileLabels(layers["mask"]), layers["confidence"])
    options, zones = polygon_options(settings, source.classes), zones_of(settings, source.grid)
    added = added or Added()
    layer = VectorLayer(source.grid, source.classes, zones is not None, added.measure)
    with job.scratch() as folder:
        features = added.to(with_zones(trace(client, mapped, options, folder, talk), zones))
        check = partial(talk.go_on_or_stop, "while its polygons were written")
        return paths, write_features(features, layer, paths, overwrite=True, check=check)


def provenance(card: ModelCard, *scenes: str) -> dict[str, str]:
    """Tags of a map's files: what made it, of what."""
    return {
        "GEOUNET_VERSION": versions()["geounet"],
        "GEOUNET_MODEL": f"{card.name} {card.sha256}",
        "GEOUNET_SCENE": " ".join(scenes),
    }


def results_of(source: MapSource, files: Sequence[Path], out: Path, features: int) -> Results:
    """What a job gives back that wrote these files, and report.json."""
    table = class_table(source)
    rows, cols = source.grid.shape
    return Results(
        out,
        (*files, *(out / name for name in REPORTS)),
        table,
        total(source, "area_m2", HIDDEN) / HECTARE,
        rows * cols - sum(row.pixels for row in table),
        features,
        source.classes,
    )


def class_table(source: MapSource) -> tuple[ClassArea, ...]:
    """Pixels and hectares of each class; shares are of the mapped area."""
    hectares = [total(source, "area_m2", str(c.value)) / HECTARE for c in source.classes]
    mapped = fsum(hectares)
    return tuple(
        ClassArea(
            c.value,
            c.name,
            int(total(source, "pixels", str(c.value))),
            area,
            area / mapped if mapped else 0.0,
        )
        for c, area in zip(source.classes, hectares, strict=True)
    )


def finished_job(out: Path) -> tuple[dict[str, Any], Results] | None:
    """Fingerprint and results of a job that was finished here; None unless all of it is there."""
    try:
        report = json.loads(read_ours(out / "report.json"))
        files = tuple(out / Path(name).name for name in report["files"])
        table = tuple(_class_area(**row) for row in report["classes"])
        numbers = [report[name] for name in ("hidden_ha", "nodata_pixels", "features")]
        results = Results(out, files, table, *numbers)
        found, sums = dict(report["fingerprint"]), dict(report["run"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = all(file.is_file() for file in files) and all(
        sha256_of(out / Path(name).name) == digest for name, digest in sums.items()
    )
    return (found, results) if whole else None


def remove_stale(out: Path, files: Sequence[Path], others: Sequence[str]) -> None:
    """Remove what an overwritten job left under names of ours that this job did not write.

    Args:
        out: the folder of the job.
        files: that it wrote.
        others: names that a job of this kind may write, beside mask and features.
    """
    kept = {file.name for file in files}
    for name in others:
        if name not in kept:
            for path in (out / name, out / f"{name}.aux.xml", (out / name).with_suffix(".qml")):
                path.unlink(missing_ok=True)
    written = {ending_of(file) for file in files if base_of(file) == "features"}
    for main, parts in VECTOR_FILES.items():
        if main not in written:
            for suffix in parts:
                (out / f"features{suffix}").unlink(missing_ok=True)
    if not written:
        (out / "features.qml").unlink(missing_ok=True)


def _class_area(area_ha: float | None, **row: Any) -> ClassArea:
    return ClassArea(area_ha=nan if area_ha is None else area_ha, **row)


def pieces_of(source: MapSource, store: TileStore, layer: str) -> Iterator[Piece]:
    """The cores of a job's tiles, for a raster."""
    for tile in source.tiles:
        record = source.records[tile.name]
        if not record.is_empty:
            yield tile.core, store.get(record)[layer]


def total(source: MapSource, column: str, key: str) -> float:
    """The sum over all tiles of what their records count under ``key``."""
    # fsum is exact, so the order in which tiles were finished cannot show in the last digit.
    return fsum(getattr(source.records[tile.name], column).get(key, 0) for tile in source.tiles)
