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
from geounet.errors import GeounetError, InterruptedJobError, OutputError
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
from geounet.reporting import Reporter
from geounet.stop import StopRequest

Talk = tuple[Reporter, StopRequest, str]
"""Who is told of progress, whether a stop was asked for, and what to say then."""
Task = Callable[[tuple[Any, ...]], list[Any]]


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


def trace(
    client: Client,
    source: Source,
    options: PolygonOptions,
    folder: Path,
    talk: Talk,
) -> Iterator[Features]:
    """Trace all cells of a map; returns its features.

    Args:
        client: of the Dask workers.
        source: the map.
        options: which regions are kept and how they are drawn.
        folder: an empty folder that client and workers share.
        talk: is told of progress; tells whether to stop; and what to say then.

    Raises:
        InterruptedJobError: if a stop was asked for; also between the batches of features.
        GeounetError: if the map cannot be read or a cell not be kept.
    """
    measures, lattice = Measures(source.grid), Lattice(source.grid.shape)
    thinning = options.thinning(measures)
    tracer = Tracer(source.labels, measures, lattice, thinning, source.confidence)
    cells = range(lattice.rows * lattice.cols)
    work = Work(client, str(folder.resolve()), talk)
    if not is_ready():
        talk[0].note("compiling the tracer, once for this version: about half a minute")
    if options.cleaning is not None:
        tracer = _clean(work, tracer, options.cleaning)
    records = work.run("tracing", partial(trace_cells, tracer, work.folder), cells, lattice)
    held = sum(record.result for record in records)
    if held:
        talk[0].note(f"{held} borders were left less simplified, so that none cross")
    store = CellFiles(folder)
    collector = Collector(store, lattice, measures, options.choice, thinning.scale)
    return work.until_stopped(collector.features())


@dataclass(frozen=True)
class Work:
    """Where cells are worked on, and who is told."""

    client: Client
    folder: str
    talk: Talk

    def run(
        self, what: str, task: Task, items: Sequence[Any], lattice: Lattice
    ) -> list[CellRecord]:
        """Records by cell."""
        reporter, stop, _ = self.talk
        records: dict[int, CellRecord] = {}

        def commit(record: CellRecord) -> None:
            records[record.number] = record
            rows, cols = shape_of(lattice.window(record.number))
            reporter.advance(rows * cols)

        reporter.start(what, lattice.shape[0] * lattice.shape[1], 0)
        try:
            run(self.client, task, items, commit, stop)
        finally:
            reporter.finish()
        if len(records) < len(items):
            raise self._interrupted()
        return [records[k] for k in sorted(records)]

    def until_stopped(self, batches: Iterator[Features]) -> Iterator[Features]:
        """The batches, until a stop is asked for."""
        for batch in batches:
            if self.talk[1]():
                raise self._interrupted()
            yield batch

    def _interrupted(self) -> InterruptedJobError:
        _, stop, message = self.talk
        return InterruptedJobError(message, stop.exit_code or OutputError.exit_code)


def _clean(work: Work, tracer: Tracer, cleaning: Cleaning) -> Tracer:
    """The tracer of the cleaned map, which is written to the folder."""
    lattice, reporter = tracer.lattice, work.talk[0]
    cells = range(lattice.rows * lattice.cols)
    surveyed = work.run("surveying", partial(survey_cells, tracer), cells, lattice)
    new, stay = decide([r.result for r in surveyed], lattice, tracer.measures, cleaning)
    if stay:
        reporter.note(f"{stay} small regions stay: nothing around them is large enough to join")
    items = list(zip(cells, new, strict=True))
    work.run("cleaning", partial(clean_cells, tracer, work.folder), items, lattice)
    return replace(tracer, labels=CellLabels(work.folder, lattice))


def trace_cells(tracer: Tracer, folder: str, cells: tuple[int, ...]) -> list[CellRecord]:
    """The task: trace some cells and keep them."""

    def one(cell: int) -> int:
        traced = tracer(cell)
        CellFiles(Path(folder)).put(cell, traced)
        return traced.held

    return _recorded(one, [(cell, cell) for cell in cells])


def survey_cells(tracer: Tracer, cells: tuple[int, ...]) -> list[CellRecord]:
    """The task: survey some cells."""
    return _recorded(tracer.survey, [(cell, cell) for cell in cells])


def clean_cells(
    tracer: Tracer, folder: str, items: tuple[tuple[int, ndarray], ...]
) -> list[CellRecord]:
    """The task: write the labels of some cells anew."""

    def one(item: tuple[int, ndarray]) -> None:
        cell, labels = item
        put_labels(folder, cell, relabelled(tracer.pixels(cell), labels))

    return _recorded(one, [(item[0], item) for item in items])


def _recorded(one: Callable[[Any], Any], items: Sequence[tuple[int, Any]]) -> list[CellRecord]:
    records = []
    try:
        for cell, item in items:
            started = time.monotonic()
            result = one(item)
            records.append(CellRecord(cell, result, {"compute": time.monotonic() - started}))
        return records
    except GeounetError as error:
        failure = type(error)(str(error))
    # Raised anew, without its causes: Dask pickles those too, and GDAL's cannot be read back.
    raise failure
