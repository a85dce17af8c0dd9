"""From a scene to its map: check, plan, label tiles, write what a job writes.

Two hops from the command to the inner loop: ``segment`` here, ``engine.run`` there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from distributed import Client

from geounet.engine import cluster
from geounet.errors import GeounetError, InputError, InterruptedJobError
from geounet.fit import stretched
from geounet.job import Job, open_job, refuse_difference
from geounet.job_report import about_model, write_reports
from geounet.labelling import Work, label_tiles
from geounet.model_file import load_model
from geounet.outputs import (
    MapSource,
    Results,
    output_names,
    provenance,
    remove_stale,
    results_of,
    write_rasters,
    write_vectors,
)
from geounet.preparation import Prepared, fingerprint, forward_of, prepare, with_window_of
from geounet.reporting import Reporter, Silence
from geounet.scene import open_scene
from geounet.settings import SegmentSettings
from geounet.stop import Talk, stop_on_signals
from geounet.store import TileRecord
from geounet.tile_job import TileWork, do_tiles, earlier_run, timings


def segment(
    scene: str | Path,
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Segment one scene into the folder ``out``: mask, polygons, report.

    Args:
        scene: a raster, a product folder or a scene.yaml.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        settings: how to read, segment and write.
        reporter: is told of notes and progress.

    Returns:
        The files written and the area of each class.

    Raises:
        GeounetError: the scene, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    settings, reporter, out = settings or SegmentSettings(), reporter or Silence(), Path(out)
    started = time.monotonic()
    prepared = prepare(scene, model, settings)
    for note in prepared.notes:
        reporter.note(note)
    with open_job(out, output_names(settings), settings.overwrite, settings.resume) as job:
        before, finished = earlier_run(job, settings.resume)
        prepared = _with_stretch(with_window_of(prepared, before), reporter)
        identity = fingerprint(prepared)
        if finished is not None:
            refuse_difference(out, before, identity)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return replace(finished, legend=prepared.model.card.classes)
        with stop_on_signals() as stop, cluster(settings.workers, settings.scheduler) as client:
            talk = Talk(out, reporter, stop)
            work = TileWork(
                "segmenting", partial(label_tiles, _work(job, prepared)), prepared.plan.tiles
            )
            records = do_tiles(client, job, work, identity, settings.resume, talk)
            labelled = time.monotonic()
            source = _source(prepared, records)
            results = _write(client, job, source, settings, talk)
        if settings.overwrite:
            remove_stale(out, results.files)
        about = _about(prepared, identity, records) | {"run": timings(records, started, labelled)}
        write_reports(results, source, [[prepared.fit.scene]], about)
        job.finish(settings.keep_work)
    return results


def segment_all(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
) -> Iterator[tuple[str, Results | GeounetError]]:
    """Segment several scenes, each into ``out``/SCENE; one that fails does not stop the others.

    Yields:
        A scene as given, and its results or why it failed. An interrupt ends all.
    """
    load_model(model)
    taken: dict[str, str] = {}
    for scene in map(str, scenes):
        try:
            name = open_scene(scene, settings).name
            if name in taken:
                raise InputError(
                    f"{scene}: is called {name}, as {taken[name]} is; segment it on its own"
                )
            taken[name] = scene
            yield scene, segment(scene, model, Path(out) / name, settings, reporter)
        except InterruptedJobError:
            raise
        except GeounetError as error:
            yield scene, error


def _with_stretch(prepared: Prepared, reporter: Reporter) -> Prepared:
    """Read the whole scene's percentiles, if the model asks for them."""
    fitted = stretched(prepared.fit, prepared.model.card)
    for note in fitted.notes[len(prepared.fit.notes) :]:
        reporter.note(note)
    return replace(prepared, fit=fitted)


def _work(job: Job, prepared: Prepared) -> Work:
    return Work(
        scene=prepared.fit.scene,
        forward=forward_of(prepared.model, prepared.fit, prepared.settings),
        layers=prepared.layers,
        store=str(job.store.folder.resolve()),
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )


def _write(
    client: Client, job: Job, source: MapSource, settings: SegmentSettings, talk: Talk
) -> Results:
    talk.reporter.note(f"writing to {job.out}")
    rasters = write_rasters(job.out, source, job.store, settings)
    vectors, count = write_vectors(client, job, source, settings, talk)
    return results_of(source, (*rasters, *vectors), job.out, count)


def _source(prepared: Prepared, records: Mapping[str, TileRecord]) -> MapSource:
    card, scene = prepared.model.card, prepared.fit.scene
    tags = provenance(card, scene.name)
    return MapSource(scene.grid, prepared.plan.tiles, records, card.classes, tags)


def _about(
    prepared: Prepared, identity: Mapping[str, Any], records: Mapping[str, TileRecord]
) -> dict[str, Any]:
    card, scene = prepared.model.card, prepared.fit.scene
    return {
        "scene": {"name": scene.name, "date": scene.date, "level": scene.level},
        "title": "Land cover",
        "measure": "confidence",
        "model": about_model(card),
        "plan": prepared.plan.describe(),
        "empty_tiles": sum(records[tile.name].is_empty for tile in prepared.plan.tiles),
        "notes": list(prepared.notes),
        "fingerprint": dict(identity),
    }
