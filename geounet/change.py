"""From scenes of several dates to a map of what changed: check, plan, compare tiles, write.

It is `geounet.segmentation` with more than one scene: the same tiles, journal, resume and files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from distributed import Client

from geounet.area import HECTARE
from geounet.change_labelling import ChangeWork, compare_tiles, hidden_key
from geounet.change_preparation import (
    PreparedChange,
    Question,
    change_fingerprint,
    prepare_change,
    with_window_of_change,
)
from geounet.change_settings import ChangeSettings
from geounet.cog import CogStyle, write_cog
from geounet.engine import cluster
from geounet.features import Features
from geounet.fit import stretched
from geounet.job import Job, open_job, refuse_difference
from geounet.job_report import about_model, write_reports
from geounet.outputs import (
    REPORTS,
    Added,
    MapSource,
    Results,
    pieces_of,
    provenance,
    remove_stale,
    results_of,
    total,
    write_vectors,
)
from geounet.preparation import forward_of
from geounet.reporting import Reporter, Silence
from geounet.scene_shift import scene_shift
from geounet.stop import Talk, stop_on_signals
from geounet.store import TileRecord
from geounet.tile_job import TileWork, do_tiles, earlier_run, timings

OTHERS = ("score.tif", "loss_date.tif", "zones.csv", "alerts.csv", "alerts.gpkg")


@dataclass(frozen=True)
class Made:
    """A map of change that lies in its folder, for what else is written of it."""

    out: Path
    prepared: PreparedChange
    source: MapSource


def change(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    question: Question,
    settings: ChangeSettings,
    reporter: Reporter | None = None,
) -> Results:
    """Compare scenes of two or more dates into the folder ``out``: mask, polygons, report.

    Args:
        scenes: the oldest first; the map lies on the grid of the first.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        question: what is asked of the dates.
        settings: how to read, compare and write.
        reporter: is told of notes and progress.

    Raises:
        GeounetError: the scenes, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    reporter, out = reporter or Silence(), Path(out)
    started = time.monotonic()
    prepared = prepare_change(scenes, model, question, settings)
    names = _output_names(settings, question)
    with open_job(out, names, settings.overwrite, settings.resume) as job:
        before, finished = earlier_run(job, settings.resume)
        prepared = _with_pixels(with_window_of_change(prepared, before))
        for note in prepared.notes:
            reporter.note(note)
        identity = change_fingerprint(prepared)
        if finished is not None:
            refuse_difference(out, before, identity)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return replace(finished, legend=question.classes)
        with stop_on_signals() as stop, cluster(settings.workers, settings.scheduler) as client:
            work = TileWork(
                "comparing", partial(compare_tiles, _work(job, prepared)), prepared.plan.tiles
            )
            talk = Talk(out, reporter, stop)
            records = do_tiles(client, job, work, identity, settings.resume, talk)
            labelled = time.monotonic()
            made = Made(out, prepared, _source(prepared, records))
            results, kept = _write(client, job, made, talk)
        if settings.overwrite:
            remove_stale(out, results.files, OTHERS)
        about = _about(made, identity, kept) | {"run": timings(records, started, labelled)}
        write_reports(results, made.source, [[f.scene] for f in prepared.fits], about)
        for date in about["dates"]:
            _tell_hidden(date, about["target"], reporter)
        job.finish(settings.keep_work)
    return results


def _output_names(settings: ChangeSettings, question: Question) -> tuple[str, ...]:
    score = ("score.tif",) if settings.score else ()
    vectors = [f"features.{name}" for name in settings.vector_formats]
    return (*score, "mask.tif", *vectors, *question.further, *REPORTS)


def _with_pixels(prepared: PreparedChange) -> PreparedChange:
    """With what pixels tell: shifts, and each date's percentiles if the model asks for them."""
    card, fits = prepared.model.card, prepared.fits
    shifts = tuple(scene_shift(fits[0].scene, fitted.scene) for fitted in fits[1:])
    return replace(prepared, fits=tuple(stretched(f, card) for f in fits), shifts=shifts)


def _work(job: Job, prepared: PreparedChange) -> ChangeWork:
    settings, fits = prepared.settings, prepared.fits
    return ChangeWork(
        scenes=tuple(f.scene for f in fits),
        forwards=tuple(forward_of(prepared.model, f, settings) for f in fits),
        target=prepared.target,
        rule=prepared.question.rule,
        ancillary=prepared.ancillary,
        store=str(job.store.folder.resolve()),
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )


def _source(prepared: PreparedChange, records: Mapping[str, TileRecord]) -> MapSource:
    tags = provenance(prepared.model.card, *(f.scene.name for f in prepared.fits))
    classes = prepared.question.classes
    return MapSource(prepared.grid, prepared.plan.tiles, records, classes, tags)


def _write(client: Client, job: Job, made: Made, talk: Talk) -> tuple[Results, Mapping[int, float]]:
    """All files but the report; also the hectares of each class that features keep."""
    prepared, source = made.prepared, made.source
    talk.reporter.note(f"writing to {job.out}")
    rasters = _write_rasters(job, made)
    kept: dict[int, float] = {}
    added = Added(lambda batches: _tallied(batches, kept), measure="score")
    vectors, count = write_vectors(client, job, source, prepared.settings, talk, added)
    others = [write(made) for write in prepared.question.further.values()]
    return results_of(source, (*rasters, *vectors, *others), job.out, count), kept


def _write_rasters(job: Job, made: Made) -> list[Path]:
    source, tags = made.source, dict(made.source.tags)
    styles = {"mask": ("mask", CogStyle(classes=source.classes, tags=tags))}
    if made.prepared.settings.score:
        styles = {"confidence": ("score", CogStyle(bands=("score in %",), tags=tags)), **styles}
    paths = []
    for layer, (name, style) in styles.items():
        path = job.out / f"{name}.tif"
        # Whether it may be replaced was settled when the job began.
        pieces = pieces_of(source, job.store, layer)
        write_cog(path, source.grid, pieces, style, overwrite=True)
        paths.append(path)
    return paths


def _tallied(batches: Iterator[Features], kept: dict[int, float]) -> Iterator[Features]:
    """The features as they are; ``kept`` gets the hectares of each class."""
    kept.clear()
    for batch in batches:
        for value in set(batch.class_id.tolist()):
            area = batch.area_ha[batch.class_id == value].sum()
            kept[value] = kept.get(value, 0.0) + float(area)
        yield batch


def _about(made: Made, identity: Mapping[str, Any], kept: Mapping[int, float]) -> dict[str, Any]:
    prepared, source = made.prepared, made.source
    card, settings = prepared.model.card, prepared.settings
    return {
        "dates": [_about_date(source, prepared, date) for date in range(len(prepared.fits))],
        "title": made.prepared.question.title,
        "measure": "score",
        "model": about_model(card),
        "target": [card.classes[k].name for k in prepared.target],
        "threshold": settings.threshold,
        "score": "probability of the first state times that of the second: that of the change "
        "only if the errors of the dates were independent, which they are not",
        "shifts": [shift.describe() for shift in prepared.shifts],
        "min_area": settings.min_area,
        "features_ha": {c.name: kept.get(c.value, 0.0) for c in source.classes},
        "plan": prepared.plan.describe(),
        "empty_tiles": sum(source.records[tile.name].is_empty for tile in source.tiles),
        "notes": list(prepared.notes),
        "fingerprint": dict(identity),
    }


def _about_date(source: MapSource, prepared: PreparedChange, date: int) -> dict[str, Any]:
    """One date, and what its mask hid: of that, what the model would have called its class."""
    scene = prepared.fits[date].scene
    hidden, of_target = (
        total(source, "area_m2", hidden_key(date, target)) / HECTARE for target in (False, True)
    )
    return {
        "scene": scene.name,
        "date": scene.date,
        "level": scene.level,
        "hidden_ha": hidden,
        "hidden_target_ha": of_target,
    }


def _tell_hidden(date: Mapping[str, Any], target: Sequence[str], reporter: Reporter) -> None:
    if date["hidden_ha"]:
        reporter.note(
            f"{date['scene']}: a mask hid {date['hidden_ha']:,.1f} ha, of which the model would "
            f"call {date['hidden_target_ha']:,.1f} ha {' or '.join(target)}"
        )
