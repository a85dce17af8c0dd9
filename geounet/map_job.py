"""A job that makes a map, whatever it maps: resume, tiles, files, report, in the one safe order.

A kind of job gives a ``Recipe``; the steps between a request and its results are here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from geounet.card import LandClass, ModelCard
from geounet.cluster import cluster
from geounet.errors import LostItemError, SettingsError
from geounet.forward import Forward, try_window
from geounet.grid import Grid, Tile
from geounet.job import Job, open_job, refuse_difference
from geounet.job_report import write_reports
from geounet.outputs import (
    MapSource,
    MapWithHolesError,
    Results,
    provenance,
    remove_stale,
    results_of,
)
from geounet.planning import JobPlan
from geounet.reporting import Reporter
from geounet.scene import Scene
from geounet.settings import JobSettings
from geounet.stop import StopRequest, Talk, stop_on_signals
from geounet.store import TileRecord
from geounet.tile_job import Done, TileWork, do_tiles, earlier_run, timings

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
        task: from the place of the tile store to what does some tiles; it is pickled.
        write: what is written of the finished tiles.
        about: what the reports say beside what all jobs say.
        forward: of a date, tried on a window before the first tile.
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
    forward: Forward
    others: Sequence[str] = field(default=("confidence.tif", "probabilities.tif"))

    @property
    def grid(self) -> Grid:
        return self.dates[0][0].grid

    @property
    def subject(self) -> str:
        """As messages call what is mapped."""
        names = [scene.name for scenes in self.dates for scene in scenes]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"

    def source(self, records: Mapping[str, TileRecord]) -> MapSource:
        """The map that these tiles make."""
        names = (scene.name for scenes in self.dates for scene in scenes)
        tags = provenance(self.card, *names)
        return MapSource(self.grid, self.plan.tiles, records, self.classes, tags)


@dataclass(frozen=True)
class Crew:
    """Who does the tiles, and whether somebody asked to stop; several jobs may share them."""

    client: Client
    stop: StopRequest


@contextmanager
def assembled(settings: JobSettings) -> Iterator[Crew]:
    """The crew that the settings ask for."""
    with stop_on_signals() as stop, cluster(settings) as client:
        yield Crew(client, stop)


def make_map(
    out: Path,
    names: Sequence[str],
    settings: JobSettings,
    recipe_after: Callable[[Mapping[str, Any]], Recipe],
    reporter: Reporter,
    crew: Crew | None = None,
) -> Results:
    """Do a job in the folder ``out``, or what an earlier run of it left undone.

    Args:
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        names: of the files that will be written.
        settings: whether to resume or overwrite, and where to compute.
        recipe_after: from the identity that an earlier run began with, empty without one.
        reporter: is told of notes and progress.
        crew: that is there already; without one the settings' is assembled for this job.

    Raises:
        GeounetError: the job will not do; what was committed so far is kept.
    """
    started = time.monotonic()
    with open_job(out, tuple(names), settings.overwrite, settings.resume, settings.store) as job:
        before, finished = earlier_run(job, settings.resume)
        recipe = recipe_after(before)
        for note in recipe.notes:
            reporter.note(note)
        if finished is not None:
            refuse_difference(out, before, recipe.identity)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return replace(finished, legend=recipe.classes)
        with nullcontext(crew) if crew else assembled(settings) as hands:
            client, talk = hands.client, Talk(out, reporter, hands.stop)
            recipe = _that_fits(client, recipe, recipe_after, before)
            task = recipe.task(job.store.where)
            work = TileWork(recipe.doing, recipe.subject, task, recipe.plan.tiles, settings)
            done = do_tiles(client, job, work, recipe.identity, talk)
            labelled = time.monotonic()
            source = recipe.source(done.records)
            reporter.note(f"writing to {out}")
            with nullcontext(client) if job.scratch_is_shared else cluster() as tracers:
                files, features = recipe.write(tracers, job, source, talk)
        results = results_of(source, files, out, features)
        if settings.overwrite:
            remove_stale(out, results.files, recipe.others)
        about = _about(recipe, source) | {
            **({"aoi": Path(settings.aoi).name} if settings.aoi else {}),
            "lost_tiles": _lost_tiles(recipe, done),
            "run": timings(done.records, started, labelled),
        }
        write_reports(results, source, recipe.dates, about)
        if done.lost:
            # The journal stays, so that a resume can fill the holes.
            raise _with_holes(done, results)
        job.finish(settings.keep_work)
    return results


def _that_fits(
    client: Client,
    recipe: Recipe,
    recipe_after: Callable[[Mapping[str, Any]], Recipe],
    before: Mapping[str, Any],
) -> Recipe:
    """The recipe with a window that the device has memory for: it cannot change after a tile.

    On a CPU the window was chosen from the memory that is free, and a system that has none left
    kills a process without asking.

    Raises:
        SettingsError: if the window that was asked for is too large, or no smaller one is left.
    """
    while not recipe.plan.machine.is_cpu and "window" not in before:
        try:
            shape, dtype = recipe.plan.plan.window_shape, recipe.dates[0][0].dtype.name
            client.submit(try_window, recipe.forward, shape, dtype, pure=False).result()
            break
        except LostItemError:
            window = recipe.plan.plan.window
            recipe = recipe_after({**before, "window": window // 2})
            if recipe.plan.plan.window == window:
                raise SettingsError(
                    f"--window {window}: takes more memory than {recipe.plan.machine.device} has; "
                    "choose a smaller one, or leave it out"
                ) from None
    return recipe


def _lost_tiles(recipe: Recipe, done: Done) -> list[dict[str, Any]]:
    """Where the map has holes, and why."""
    return [
        {
            "tile": tile.name,
            "rows": [tile.core[0].start, tile.core[0].stop],
            "columns": [tile.core[1].start, tile.core[1].stop],
            "cause": done.lost[tile.name],
        }
        for tile in recipe.plan.tiles
        if tile.name in done.lost
    ]


def _with_holes(done: Done, results: Results) -> MapWithHolesError:
    name, cause = next(iter(done.lost.items()))
    return MapWithHolesError(
        f"{results.out}: is written, but {len(done.lost)} of {len(done.records)} tiles could not "
        f"be done and have no data, tile {name} among them ({cause}); run the same command with "
        "--resume to try them again",
        results,
    )


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
