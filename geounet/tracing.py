"""Polygons of a map larger than memory: cells are traced by Dask, then features come in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distributed import Client

from geounet.cell_files import CellFiles
from geounet.engine import run
from geounet.errors import GeounetError
from geounet.features import Features
from geounet.grid import Grid, shape_of
from geounet.polygonize import PolygonOptions
from geounet.polygons.collect import Collector
from geounet.polygons.lattice import Confidence, Labels, Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.trace import Tracer
from geounet.reporting import Reporter


@dataclass(frozen=True)
class Source:
    """A map to trace: readers of its windows, which may be sent to workers."""

    grid: Grid
    labels: Labels
    confidence: Confidence | None = None


@dataclass(frozen=True)
class CellRecord:
    """What is known of a traced cell."""

    number: int
    held: int
    seconds: Mapping[str, float]


def trace(
    client: Client,
    source: Source,
    options: PolygonOptions,
    folder: Path,
    talk: tuple[Reporter, Callable[[], bool]],
) -> Iterator[Features] | None:
    """Trace all cells of a map; returns its features, or None if a stop was asked for.

    Args:
        client: of the Dask workers.
        source: the map.
        options: which regions are kept and how they are drawn.
        folder: an empty folder that client and workers share.
        talk: is told of progress; and tells whether to stop.

    Raises:
        GeounetError: if the map cannot be read or a cell not be kept.
    """
    reporter, should_stop = talk
    measures, lattice = Measures(source.grid), Lattice(source.grid.shape)
    thinning = options.thinning(measures)
    tracer = Tracer(source.labels, measures, lattice, thinning, source.confidence)
    cells = range(lattice.rows * lattice.cols)
    records: list[CellRecord] = []

    def commit(record: CellRecord) -> None:
        records.append(record)
        rows, cols = shape_of(lattice.window(record.number))
        reporter.advance(rows * cols)

    reporter.start("tracing", lattice.shape[0] * lattice.shape[1], 0)
    try:
        run(client, partial(trace_cells, tracer, str(folder.resolve())), cells, commit, should_stop)
    finally:
        reporter.finish()
    if len(records) < len(cells):
        return None
    held = sum(record.held for record in records)
    if held:
        reporter.note(f"{held} borders were left less simplified, so that none cross")
    store = CellFiles(folder)
    return Collector(store, lattice, measures, options.choice, thinning.scale).features()


def trace_cells(tracer: Tracer, folder: str, cells: tuple[int, ...]) -> list[CellRecord]:
    """The task: trace some cells and keep them."""
    store = CellFiles(Path(folder))
    try:
        return [_trace_and_keep(tracer, store, cell) for cell in cells]
    except GeounetError as error:
        failure = type(error)(str(error))
    # Raised anew, without its causes: Dask pickles those too, and GDAL's cannot be read back.
    raise failure


def _trace_and_keep(tracer: Tracer, store: CellFiles, number: int) -> CellRecord:
    started = time.monotonic()
    cell = tracer(number)
    store.put(number, cell)
    return CellRecord(number, cell.held, {"compute": time.monotonic() - started})
