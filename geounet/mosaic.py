"""Many scenes to one map on a common grid, with one class a pixel where they overlap."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from distributed import Client

from geounet import cog, vector_formats
from geounet.aoi import read_aoi
from geounet.engine import cluster
from geounet.errors import SettingsError
from geounet.fit import Fit, fit, stretched
from geounet.grid import Grid, Window, intersect
from geounet.job import Job, open_job, refuse_difference
from geounet.job_report import about_model, write_reports
from geounet.model_file import Model, load_model
from geounet.mosaic_grid import around
from geounet.mosaic_labelling import MosaicWork, mosaic_tiles
from geounet.outputs import (
    REPORTS,
    MapSource,
    Results,
    provenance,
    remove_stale,
    results_of,
    write_rasters,
    write_vectors,
)
from geounet.planning import LARGEST_CACHE, JobPlan, cache_of, device_name, make_plan
from geounet.preparation import forward_of
from geounet.reporting import Reporter, Silence
from geounet.scene import open_scene
from geounet.settings import LandcoverSettings
from geounet.stop import Talk, stop_on_signals
from geounet.store import TileRecord
from geounet.tile_job import TileWork, do_tiles, earlier_run, timings
from geounet.vector_settings import VectorSettings
from geounet.vectorization import chosen_values
from geounet.versions import versions

MOST_SCENES = 1000


@dataclass(frozen=True)
class PreparedMosaic:
    """Everything known before a tile is read; the scenes of ``fits`` share one grid."""

    fits: tuple[Fit, ...]
    extents: tuple[Window, ...]
    model: Model
    area: shapely.Geometry | None
    plan: JobPlan
    settings: LandcoverSettings

    @property
    def grid(self) -> Grid:
        return self.fits[0].scene.grid

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, each once."""
        own = (note for fitted in self.fits for note in fitted.notes)
        return tuple(dict.fromkeys([*own, *self.plan.notes]))


def mosaic(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    settings: LandcoverSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Map many scenes into the folder ``out`` as one: mask, polygons, report.

    Args:
        scenes: rasters, product folders or scene.yaml files; the map has the CRS and the pixels of
            the first, and is as large as all of them.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        settings: how to read, map and write.
        reporter: is told of notes and progress.

    Raises:
        GeounetError: the scenes, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    settings, reporter, out = settings or LandcoverSettings(), reporter or Silence(), Path(out)
    started = time.monotonic()
    prepared = prepare_mosaic(scenes, model, settings)
    with open_job(out, _output_names(settings), settings.overwrite, settings.resume) as job:
        before, finished = earlier_run(job, settings.resume)
        prepared = _with_stretch(_with_window(prepared, before))
        for note in prepared.notes:
            reporter.note(note)
        identity = _fingerprint(prepared)
        if finished is not None:
            refuse_difference(out, before, identity)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return replace(finished, legend=prepared.model.card.classes)
        with stop_on_signals() as stop, cluster(settings.workers, settings.scheduler) as client:
            work = TileWork(
                "mapping", partial(mosaic_tiles, _work(job, prepared)), prepared.plan.tiles
            )
            talk = Talk(out, reporter, stop)
            records = do_tiles(client, job, work, identity, settings.resume, talk)
            labelled = time.monotonic()
            source = _source(prepared, records)
            results = _write(client, job, source, settings, talk)
        if settings.overwrite:
            remove_stale(out, results.files)
        about = _about(prepared, source, identity) | {"run": timings(records, started, labelled)}
        write_reports(results, source, [[f.scene for f in prepared.fits]], about)
        job.finish(settings.keep_work)
    return results


def prepare_mosaic(
    sources: Sequence[str | Path], model: str | Path, settings: LandcoverSettings
) -> PreparedMosaic:
    """Open, check and plan, from headers alone.

    Raises:
        GeounetError: the scenes, the model, the settings or the outputs do not go together.
    """
    if not 1 <= len(sources) <= MOST_SCENES:
        raise SettingsError(f"{len(sources)} scenes were given; a mosaic takes 1 to {MOST_SCENES}")
    loaded = load_model(model)
    chosen_values(settings.classes, loaded.card.classes)
    scenes = [open_scene(source, settings) for source in sources]
    # Doubts about pixels are those of the scene's own, before it is laid on the common grid.
    fits = [fit(scene, loaded.card, settings.strict) for scene in scenes]
    grid, extents = around([s.grid for s in scenes], [s.name for s in scenes])
    cog.check_target(Path("mask.tif"), grid, overwrite=True)
    for name in settings.vector_formats:
        vector_formats.check_target(Path(f"features.{name}"), grid, overwrite=True)
    placed = tuple(replace(f, scene=replace(f.scene, grid=grid)) for f in fits)
    area = read_aoi(settings.aoi, grid) if settings.aoi else None
    plan = _plan(placed, extents, loaded, settings, area)
    return PreparedMosaic(placed, extents, loaded, area, plan, settings)


def _plan(
    fits: Sequence[Fit],
    extents: Sequence[Window],
    model: Model,
    settings: LandcoverSettings,
    area: shapely.Geometry | None,
) -> JobPlan:
    """The tiles that some scene touches: far scenes leave much ground between them."""
    plan = make_plan(fits[0].scene, model.card, settings, area, 1 + settings.confidence)
    views = [sum(intersect(t.core, e) is not None for e in extents) for t in plan.tiles]
    tiles = tuple(tile for tile, count in zip(plan.tiles, views, strict=True) if count)
    cache = max(cache_of(fitted.scene, plan.plan) for fitted in fits)
    return replace(
        plan,
        tiles=tiles,
        computed_share=plan.computed_share * sum(views) / max(len(views), 1),
        cache=min(2 * cache, LARGEST_CACHE),
    )


def _with_window(prepared: PreparedMosaic, earlier: Mapping[str, Any]) -> PreparedMosaic:
    """Without ``--window`` it was chosen from the memory of that day: keep it."""
    if prepared.settings.window is not None or "window" not in earlier:
        return prepared
    settings = prepared.settings.model_copy(update={"window": earlier["window"]})
    plan = _plan(prepared.fits, prepared.extents, prepared.model, settings, prepared.area)
    return replace(prepared, plan=plan)


def _with_stretch(prepared: PreparedMosaic) -> PreparedMosaic:
    """With each scene's own percentiles, if the model asks for them."""
    card = prepared.model.card
    return replace(prepared, fits=tuple(stretched(fitted, card) for fitted in prepared.fits))


_POLYGONS = {*VectorSettings.model_fields} - {"overwrite"}


def _fingerprint(prepared: PreparedMosaic) -> dict[str, Any]:
    """All that the bytes of the outputs depend on; a resume refuses any change of it."""
    s, plan = prepared.settings, prepared.plan.plan
    area = shapely.to_wkb(prepared.area) if prepared.area is not None else b""
    return {
        "scenes": [
            {"scene": f.scene.fingerprint(), "scale": list(f.scale), "offset": list(f.offset)}
            for f in prepared.fits
        ],
        "model": prepared.model.card.sha256,
        "overlap": s.overlap,
        "window": plan.window,
        "halo": plan.halo,
        "precision": s.precision,
        "tta": s.tta,
        "device": device_name(),
        "confidence": s.confidence,
        "aoi": hashlib.sha256(area).hexdigest() if area else "",
        "polygons": s.model_dump(mode="json", include=_POLYGONS),
        "versions": versions(),
    }


def _output_names(settings: LandcoverSettings) -> tuple[str, ...]:
    confidence = ("confidence.tif",) if settings.confidence else ()
    vectors = [f"features.{name}" for name in settings.vector_formats]
    return (*confidence, "mask.tif", *vectors, *REPORTS)


def _work(job: Job, prepared: PreparedMosaic) -> MosaicWork:
    settings, fits = prepared.settings, prepared.fits
    return MosaicWork(
        scenes=tuple(f.scene for f in fits),
        extents=prepared.extents,
        forwards=tuple(forward_of(prepared.model, f, settings) for f in fits),
        overlap=settings.overlap,
        store=str(job.store.folder.resolve()),
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )


def _source(prepared: PreparedMosaic, records: Mapping[str, TileRecord]) -> MapSource:
    card = prepared.model.card
    tags = provenance(card, *(f.scene.name for f in prepared.fits))
    return MapSource(prepared.grid, prepared.plan.tiles, records, card.classes, tags)


def _write(
    client: Client, job: Job, source: MapSource, settings: LandcoverSettings, talk: Talk
) -> Results:
    talk.reporter.note(f"writing to {job.out}")
    rasters = write_rasters(job.out, source, job.store, settings)
    vectors, count = write_vectors(client, job, source, settings, talk)
    return results_of(source, (*rasters, *vectors), job.out, count)


def _about(
    prepared: PreparedMosaic, source: MapSource, identity: Mapping[str, Any]
) -> dict[str, Any]:
    scenes = [f.scene for f in prepared.fits]
    return {
        "title": "Land cover",
        "measure": "confidence",
        "scenes": [{"name": s.name, "date": s.date, "level": s.level} for s in scenes],
        "overlap": prepared.settings.overlap,
        "model": about_model(prepared.model.card),
        "plan": prepared.plan.describe(),
        "empty_tiles": sum(source.records[tile.name].is_empty for tile in source.tiles),
        "notes": list(prepared.notes),
        "fingerprint": dict(identity),
    }
