"""Polygons of a map larger than memory: cells are traced by Dask, then features come in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client
from numpy import ndarray

from geounet.cell_files import CellFiles, CellLabels, put_labels
from geounet.engine import run
from geounet.errors import task
from geounet.features import Features
from geounet.grid import Grid, shape_of
from geounet.polygonize import PolygonOptions
from geounet.polygons.clean import Cleaning, decide
from geounet.polygons.collect import Collector
from geounet.polygons.compiled import is_ready
from geounet.polygons.lattice import Confidence, Labels, Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.survey import relabelled
from geounet.polygons.trace import Tracer
from geounet.stop import Talk


@dataclass(frozen=True)
class Source:
    """A map to trace: readers of its windows, which may be sent to workers."""

    grid: Grid
    labels: Labels
    confidence: Confidence | None = None


@dataclass(frozen=True)
class CellRecord:
    """What a task found in a cell, and the seconds that it took."""

    number: int
    result: Any
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Kept:
    """Traced cells that outlive a run.

    Attributes:
        done: those that lie in the folder already.
        commit: is told of the others as they come, with the SHA-256 of their files.
    """

    done: frozenset[int]
    commit: Callable[[Mapping[int, str]], None]


CellTask = Callable[[tuple[Any, ...]], list[CellRecord]]


def trace(
    client: Client,
    source: Source,
    options: PolygonOptions,
    folder: Path,
    talk: Talk,
    kept: Kept | None = None,
) -> Iterator[Features]:
    """Trace all cells of a map; returns its features.

    Args:
        client: of the Dask workers.
        source: the map.
        options: which regions are kept and how they are drawn.
        folder: that client and workers share, empty but for the cells that are ``kept``.
        talk: is told of progress, and tells whether to stop.
        kept: where the traced cells outlive a run.

    Raises:
        InterruptedJobError: if a stop was asked for; also between the batches of features.
        GeounetError: if the map cannot be read or a cell not be kept.
    """
    measures, lattice = Measures(source.grid), Lattice(source.grid.shape)
    thinning = options.thinning(measures)
    tracer = Tracer(source.labels, measures, lattice, thinning, source.confidence)
    crew = _Crew(client, str(folder.resolve()), talk)
    if not is_ready():
        talk.reporter.note("compiling the tracer, once for this version: about half a minute")
    store, cells = CellFiles(folder), range(lattice.rows * lattice.cols)
    waiting = [cell for cell in cells if kept is None or cell not in kept.done]
    if waiting:
        if options.cleaning is not None:
            tracer = _clean(crew, tracer, options.cleaning)
        work = partial(trace_cells, tracer, crew.folder)
        crew.run("tracing", work, waiting, lattice, kept.commit if kept else _forget)
    held = sum(map(store.held, cells))
    if held:
        talk.reporter.note(f"{held} borders were left less simplified, so that none cross")
    collector = Collector(store, lattice, measures, options.choice, thinning.scale)
    return _until_stopped(collector.features(), talk)


def _forget(_: Mapping[int, Any]) -> None:
    """Nobody goes on with this run."""


@dataclass(frozen=True)
class _Crew:
    """Who works on cells, in which folder, and who is told."""

    client: Client
    folder: str
    talk: Talk

    def run(
        self,
        what: str,
        work: CellTask,
        items: Sequence[Any],
        lattice: Lattice,
        keep: Callable[[Mapping[int, Any]], None] = _forget,
    ) -> list[CellRecord]:
        """Records by cell; ``keep`` is told of results as they come."""
        reporter = self.talk.reporter
        records: dict[int, CellRecord] = {}

        def commit(done: Sequence[CellRecord]) -> None:
            keep({record.number: record.result for record in done})
            for record in done:
                records[record.number] = record
                rows, cols = shape_of(lattice.window(record.number))
                reporter.advance(rows * cols)

        rows, cols = lattice.shape
        before = 1 - len(items) / (lattice.rows * lattice.cols)
        reporter.start(what, rows * cols, round(before * rows * cols))
        try:
            run(self.client, work, items, commit, self.talk.stop)
        finally:
            reporter.finish()
        if len(records) < len(items):
            raise self.talk.interrupted("while its polygons were made")
        return [records[k] for k in sorted(records)]


def _until_stopped(batches: Iterator[Features], talk: Talk) -> Iterator[Features]:
    for batch in batches:
        talk.go_on_or_stop("while its polygons were made")
        yield batch


def _clean(crew: _Crew, tracer: Tracer, cleaning: Cleaning) -> Tracer:
    """The tracer of the cleaned map, which is written to the folder."""
    lattice, reporter = tracer.lattice, crew.talk.reporter
    cells = range(lattice.rows * lattice.cols)
    surveyed = crew.run("surveying", partial(survey_cells, tracer), cells, lattice)
    new, stay = decide([r.result for r in surveyed], lattice, tracer.measures, cleaning)
    if stay:
        reporter.note(f"{stay} small regions stay: nothing around them is large enough to join")
    items = list(zip(cells, new, strict=True))
    crew.run("cleaning", partial(clean_cells, tracer, crew.folder), items, lattice)
    return replace(tracer, labels=CellLabels(crew.folder, lattice))


@task
def trace_cells(tracer: Tracer, folder: str, cells: tuple[int, ...]) -> list[CellRecord]:
    """The task: trace some cells and keep them; the results are their digests."""

    def one(cell: int) -> str:
        return CellFiles(Path(folder)).put(cell, tracer(cell))

    return [_recorded(cell, partial(one, cell)) for cell in cells]


@task
def survey_cells(tracer: Tracer, cells: tuple[int, ...]) -> list[CellRecord]:
    """The task: survey some cells."""
    return [_recorded(cell, partial(tracer.survey, cell)) for cell in cells]


@task
def clean_cells(
    tracer: Tracer, folder: str, items: tuple[tuple[int, ndarray], ...]
) -> list[CellRecord]:
    """The task: write the labels of some cells anew, each with the labels of its regions."""

    def one(cell: int, labels: ndarray) -> None:
        put_labels(folder, cell, relabelled(tracer.pixels(cell), labels))

    return [_recorded(cell, partial(one, cell, labels)) for cell, labels in items]


def _recorded(cell: int, work: Callable[[], Any]) -> CellRecord:
    started = time.monotonic()
    result = work()
    return CellRecord(cell, result, {"compute": time.monotonic() - started})
