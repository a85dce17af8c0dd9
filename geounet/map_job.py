"""A job that makes a map, whatever it maps: resume, tiles, files, report, in the one safe order.

A kind of job gives a ``Recipe``; the steps between a request and its results are here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from geounet.card import LandClass, ModelCard
from geounet.engine import cluster
from geounet.grid import Grid, Tile
from geounet.job import Job, open_job, refuse_difference
from geounet.job_report import write_reports
from geounet.outputs import MapSource, Results, provenance, remove_stale, results_of
from geounet.planning import JobPlan
from geounet.reporting import Reporter
from geounet.scene import Scene
from geounet.settings import JobSettings
from geounet.stop import Talk, stop_on_signals
from geounet.store import TileRecord
from geounet.tile_job import TileWork, do_tiles, earlier_run, timings

Write = Callable[[Client, Job, MapSource, Talk], tuple[Sequence[Path], int]]
"""Writes all files but the reports; returns them, and the number of features."""


@dataclass(frozen=True)
class Recipe:
    """What one kind of job puts into the steps that all share.

    Attributes:
        title: of the report.
        doing: what is done with tiles, as progress calls it.
        measure: what the features' confidence is called.
        dates: the scenes of each date, the oldest first, on the grid of the map.
        classes: of the map.
        card: of the model.
        plan: tiles and memory.
        identity: all that the bytes of the outputs depend on.
        notes: what the user should know before it begins.
        task: from the folder of the tile store to what does some tiles; it is pickled.
        write: what is written of the finished tiles.
        about: what the reports say beside what all jobs say.
        others: names that such a job may write, beside mask and features.
    """

    title: str
    doing: str
    measure: Literal["confidence", "score"]
    dates: Sequence[Sequence[Scene]]
    classes: tuple[LandClass, ...]
    card: ModelCard
    plan: JobPlan
    identity: Mapping[str, Any]
    notes: Sequence[str]
    task: Callable[[str], Callable[[tuple[Tile, ...]], list[TileRecord]]]
    write: Write
    about: Callable[[MapSource], Mapping[str, Any]]
    others: Sequence[str] = field(default=("confidence.tif", "probabilities.tif"))

    @property
    def grid(self) -> Grid:
        return self.dates[0][0].grid

    def source(self, records: Mapping[str, TileRecord]) -> MapSource:
        """The map that these tiles make."""
        names = (scene.name for scenes in self.dates for scene in scenes)
        tags = provenance(self.card, *names)
        return MapSource(self.grid, self.plan.tiles, records, self.classes, tags)


def make_map(
    out: Path,
    names: Sequence[str],
    settings: JobSettings,
    recipe_after: Callable[[Mapping[str, Any]], Recipe],
    reporter: Reporter,
) -> Results:
    """Do a job in the folder ``out``, or what an earlier run of it left undone.

    Args:
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        names: of the files that will be written.
        settings: whether to resume or overwrite, and where to compute.
        recipe_after: from the identity that an earlier run began with, empty without one.
        reporter: is told of notes and progress.

    Raises:
        GeounetError: the job will not do; what was committed so far is kept.
    """
    started = time.monotonic()
    with open_job(out, tuple(names), settings.overwrite, settings.resume) as job:
        before, finished = earlier_run(job, settings.resume)
        recipe = recipe_after(before)
        for note in recipe.notes:
            reporter.note(note)
        if finished is not None:
            refuse_difference(out, before, recipe.identity)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return replace(finished, legend=recipe.classes)
        with stop_on_signals() as stop, cluster(settings.workers, settings.scheduler) as client:
            talk = Talk(out, reporter, stop)
            task = recipe.task(str(job.store.folder.resolve()))
            work = TileWork(recipe.doing, task, recipe.plan.tiles)
            records = do_tiles(client, job, work, recipe.identity, settings.resume, talk)
            labelled = time.monotonic()
            source = recipe.source(records)
            reporter.note(f"writing to {out}")
            files, features = recipe.write(client, job, source, talk)
        results = results_of(source, files, out, features)
        if settings.overwrite:
            remove_stale(out, results.files, recipe.others)
        run = timings(records, started, labelled)
        write_reports(results, source, recipe.dates, _about(recipe, source) | {"run": run})
        job.finish(settings.keep_work)
    return results


def _about(recipe: Recipe, source: MapSource) -> dict[str, Any]:
    card = recipe.card
    return {
        "title": recipe.title,
        "measure": recipe.measure,
        "model": {
            "name": card.name,
            "sha256": card.sha256,
            "accuracy": card.accuracy,
            "training_data": card.training_data,
            "training_licence": card.training_licence,
        },
        "plan": recipe.plan.describe(),
        "empty_tiles": sum(source.records[tile.name].is_empty for tile in source.tiles),
        "notes": list(recipe.notes),
        "fingerprint": dict(recipe.identity),
        **recipe.about(source),
    }
