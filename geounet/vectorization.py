"""A class raster, made here or elsewhere, becomes features in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from geounet.area import PixelArea
from geounet.class_raster import ClassRaster
from geounet.cluster import cluster
from geounet.errors import InputError, OutputError, SettingsError
from geounet.features import Features
from geounet.fingerprint import fingerprint_of, sha256_of
from geounet.grid import Grid
from geounet.polygonize import PolygonOptions
from geounet.raster import Raster, read_header
from geounet.reporting import Reporter, Silence
from geounet.small_file import is_there
from geounet.stop import Talk, stop_on_signals
from geounet.style import AnyClass
from geounet.trace_work import (
    begin_placing,
    folder_of,
    is_finished,
    kept_cells,
    open_work,
    permission,
)
from geounet.tracing import Source, trace
from geounet.vector import Resumable, VectorLayer, count_of, write_features
from geounet.vector_formats import check_target, with_format
from geounet.vector_settings import POLYGONS, VectorSettings, area_amount, length_amount
from geounet.versions import versions
from geounet.zones import Zones

_AFTER_TRACING = {"formats", "max_features", "max_vertices"}


def vectorize(
    mask: str | Path,
    out: Path,
    settings: VectorSettings | None = None,
    classes: Sequence[AnyClass] = (),
    reporter: Reporter | None = None,
) -> int:
    """Trace the regions of a class raster and write them; returns the number of features.

    Names and colours are those of ``classes``; where it is empty, those of the raster's category
    names and colour table. What is traced outlives an interruption: ``settings.resume`` goes on.

    Args:
        mask: one band of whole numbers, as a path or an address; its nodata gives no polygon.
        out: the file to write; its ending chooses the format, and ``settings.formats`` adds others
            of the same name.
        settings: which regions are kept and how they are drawn.
        classes: what the values mean.
        reporter: is told of notes and progress.

    Raises:
        InputError: if the raster cannot be read, or does not hold classes.
        SettingsError: if a class is asked for that the raster does not have.
        OutputError: if a file exists or cannot be written.
    """
    settings, reporter = settings or VectorSettings(), reporter or Silence()
    raster = ClassRaster(read_header(str(mask)))
    grid = raster.raster.grid
    paths = list(dict.fromkeys([out, *(with_format(out, name) for name in settings.formats)]))
    for path in paths:
        check_target(path, grid, overwrite=settings.overwrite or settings.resume)
        if path.exists() and is_there(mask) and path.samefile(mask):
            raise OutputError(f"{path}: is the raster itself; give the features another name")
    refuse_without_ellipsoid(raster.raster)
    zones = zones_of(settings, grid)
    with stop_on_signals() as stop, open_work(paths, settings) as job, cluster() as client:
        if settings.resume and is_finished(job, paths, str(mask)):
            reporter.note(f"{out}: was finished, and stays as it is; --overwrite makes it anew")
            return count_of(paths[0])
        may = permission(job, paths, settings)
        for path in paths:
            check_target(path, grid, overwrite=may.overwrite or path in may.ours)
        talk = Talk(out, reporter, stop)
        check = partial(talk.go_on_or_stop, "before it was written")
        values = raster.values(check)
        known = tuple(classes) or raster.classes(values)
        options = polygon_options(settings, known, values)
        identity = _identity(raster.raster, settings) | {"files": may.journalled}
        kept = kept_cells(job, identity, settings.resume, talk)
        features = trace(client, Source(grid, raster), options, folder_of(job), talk, kept)
        layer = VectorLayer(grid, known, zones=zones is not None)
        with job.scratch() as scratch:
            run = Resumable(may.ours, partial(begin_placing, job), scratch)
            batches = with_zones(features, zones)
            count = write_features(
                batches, layer, paths, overwrite=may.overwrite, check=check, run=run
            )
        job.finish(keep_work=False)
        return count


def _identity(raster: Raster, settings: VectorSettings) -> dict[str, Any]:
    """All that traced cells depend on; a resume refuses any change of it.

    Unlike a scene's, the raster's pixels are hashed whole: it is read whole anyway.
    """
    polygons = settings.model_dump(mode="json", include=POLYGONS - _AFTER_TRACING)
    parts = [Path(raster.file), Path(f"{raster.file}.msk")] if raster.version is None else []
    return {
        "raster": fingerprint_of(raster),
        "sha256": [sha256_of(part) for part in parts if is_there(part)],
        "polygons": polygons,
        "versions": versions(),
    }


def refuse_without_ellipsoid(raster: Raster) -> None:
    """Refuse a raster whose pixels have no area, before any of them is read.

    Raises:
        InputError: naming it.
    """
    try:
        PixelArea(raster.grid)
    except InputError as error:
        raise InputError(f"{raster.shown}: {error}") from error


def zones_of(settings: VectorSettings, grid: Grid) -> Zones | None:
    """The zones that the settings name, if any.

    Raises:
        InputError: if they cannot be read.
    """
    if settings.zones is None:
        return None
    return Zones.read(Path(settings.zones), grid, settings.zone_field)


def with_zones(batches: Iterator[Features], zones: Zones | None) -> Iterator[Features]:
    """The features, with the names of their zones if there are zones."""
    return batches if zones is None else map(zones.join, batches)


def polygon_options(
    settings: VectorSettings, classes: Sequence[AnyClass], values: Sequence[int] = ()
) -> PolygonOptions:
    """What the settings ask of polygons.

    Raises:
        SettingsError: naming a class that is not there.
    """
    return PolygonOptions(
        classes=chosen_values(settings.classes, classes, values),
        min_area=area_amount(settings.min_area) if settings.min_area else None,
        absorb=settings.absorb,
        fill_holes=area_amount(settings.fill_holes) if settings.fill_holes else None,
        simplify=length_amount(settings.simplify) if settings.simplify else None,
        method=settings.simplify_method,
        smooth=settings.smooth,
        outline=settings.simplify_outline,
        split=settings.split,
        max_features=settings.max_features,
        max_vertices=settings.max_vertices,
    )


def chosen_values(
    asked: Sequence[str], classes: Sequence[AnyClass], values: Sequence[int] = ()
) -> tuple[int, ...] | None:
    """The class values that names or numbers stand for; None, which is all, for none asked.

    Raises:
        SettingsError: naming the class that is not there, and those that are.
    """
    if not asked:
        return None
    # A number is a value, even where another class has it for a name; classes may share a name.
    by_name: dict[str, tuple[int, ...]] = {}
    for land_class in classes:
        by_name[land_class.name] = (*by_name.get(land_class.name, ()), land_class.value)
    by_name |= {str(value): (value,) for value in (*values, *(c.value for c in classes))}
    unknown = [name for name in asked if name not in by_name]
    if unknown:
        raise SettingsError(
            f"there is no class {unknown[0]!r}; choose from "
            f"{', '.join(f'{c.name} ({c.value})' for c in classes)}"
        )
    return tuple(dict.fromkeys(value for name in asked for value in by_name[name]))
