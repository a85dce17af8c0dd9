"""The tile engine: Dask workers read, label and commit tiles, a bounded number at a time.

A worker has three threads and one lock on its device: while one tile is computed, another is read
and a third written. Tasks are small values and module-level functions; the network comes from a
cache of each process. Only the client commits, so one writer appends to the journal.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import distributed
import numpy as np
import rasterio
import shapely
from distributed import Client, LocalCluster, Worker, WorkerPlugin

from geounet.aoi import inside
from geounet.area import PixelArea
from geounet.card import NODATA
from geounet.errors import GeounetError, ModelError, OutputError, SettingsError
from geounet.grid import Tile
from geounet.model_file import load_model
from geounet.predict import Precision, Predictor
from geounet.scene import Pixels, Scene
from geounet.store import HIDDEN, Layers, TileRecord, TileStore

THREADS = 3
SHORTEST_TASK = 0.05
"""Seconds below which tiles share a task: the scheduler takes about 0.004 s for each."""
MOST_TILES_PER_TASK = 16

Label = Callable[[np.ndarray, np.ndarray], Layers]


@dataclass(frozen=True)
class Work:
    """All that a worker needs to label any tile of a job: small, and picklable."""

    scene: Scene
    model: str
    model_sha256: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    precision: Precision
    layers: tuple[str, ...]
    store: str
    cache: int
    aoi: bytes | None = None


@contextmanager
def cluster(workers: int = 0, scheduler: str | None = None) -> Iterator[Client]:
    """Dask in this process, in ``workers`` processes on this machine, or at an address.

    Local clusters listen on loopback only, and have no dashboard.
    """
    if scheduler:
        _refuse_silent(scheduler)
        with Client(scheduler, timeout="30s", set_as_default=False) as client:
            _wait_for_a_worker(client, scheduler)
            yield client
        return
    with (
        _local_cluster(workers) as local,
        Client(local, set_as_default=False) as client,
    ):
        if workers:
            client.register_plugin(IgnoreInterrupts())
        yield client


class IgnoreInterrupts(WorkerPlugin):
    """Ctrl-C goes to every process of a terminal, but only the client may act on it."""

    name = "geounet-ignore-interrupts"

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _local_cluster(workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=max(1, workers),
        threads_per_worker=THREADS,
        processes=workers > 0,
        host="127.0.0.1" if workers else None,
        # None would still serve HTTP, and on every interface of the machine.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        silence_logs=50,
    )


def _refuse_silent(scheduler: str) -> None:
    """A client that cannot connect leaves a thread behind, so the address is tried first."""
    host, _, port = scheduler.rpartition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            return
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{scheduler}: no Dask scheduler answers ({error}); start one, or leave --scheduler out"
        ) from error


def _wait_for_a_worker(client: Client, scheduler: str, seconds: float = 60) -> None:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise SettingsError(
            f"{scheduler}: has no worker after {seconds:.0f} s; start one with `dask worker`"
        ) from error


def run(
    client: Client,
    work: Work,
    tiles: list[Tile],
    commit: Callable[[TileRecord], None],
    should_stop: Callable[[], bool],
) -> None:
    """Label ``tiles`` in order, committing each as it is done, until all are or a stop is asked.

    When asked to stop, or when a tile fails, what is in flight is still committed.

    Raises:
        GeounetError: of the first tile that failed.
    """
    waiting = deque(tiles)
    done = distributed.as_completed(loop=client.loop)
    failure: BaseException | None = None
    in_flight, size = 0, 1
    while True:
        # Workers of a cluster come and go, so they are counted anew.
        threads = client.nthreads()
        limit = max(1, sum(threads.values()) + len(threads))
        while waiting and in_flight < limit and failure is None and not should_stop():
            group = tuple(waiting.popleft() for _ in range(min(size, len(waiting))))
            done.add(client.submit(label_tiles, work, group, pure=False))
            in_flight += 1
        if not in_flight:
            break
        future = next(done)
        in_flight -= 1
        error = future.exception()
        if error is not None:
            failure = failure or error
            continue
        records = future.result()
        for record in records:
            commit(record)
        size = _tiles_per_task(records)
    if failure is not None:
        raise _explained(failure)


def label_tiles(work: Work, tiles: tuple[Tile, ...]) -> list[TileRecord]:
    """The task: read, label and store some tiles; returns their records."""
    store = TileStore(Path(work.store))
    area = shapely.from_wkb(work.aoi) if work.aoi else None
    try:
        label = _labeller(work)
        with rasterio.Env(GDAL_CACHEMAX=work.cache):
            return [_label_and_store(work, tile, label, store, area) for tile in tiles]
    except GeounetError as error:
        failure = type(error)(str(error))
    # Raised anew, without its causes: Dask pickles those too, and GDAL's cannot be read back.
    raise failure


def label_tile(pixels: Pixels, tile: Tile, keep: np.ndarray, label: Label) -> Layers:
    """The layers of a tile's core: NODATA where ``keep``, of the core's shape, is False.

    ``label`` is any function from (bands, valid) of a window to uint8 layers of the window.
    """
    layers = label(pixels.bands, pixels.valid)
    return {name: _masked(layer[tile.crop], keep) for name, layer in layers.items()}


def _label_and_store(
    work: Work, tile: Tile, label: Label, store: TileStore, area: shapely.Geometry | None
) -> TileRecord:
    clock = time.monotonic
    started = clock()
    pixels = work.scene.read(tile.window)
    wanted = True if area is None else inside(area, work.scene.grid[tile.core])
    # The area of interest masks what comes out, never what goes in: inside it, the map is the
    # full map.
    keep = pixels.valid[tile.crop] & wanted
    hidden = pixels.hidden[tile.crop] & wanted
    read = clock()
    with _DEVICE:
        begun = clock()
        layers = label_tile(pixels, tile, keep, label) if keep.any() else {}
        computed = clock()
    digest = store.put(tile.name, layers) if layers else ""
    mask = layers.get("mask", np.full(keep.shape, NODATA, np.uint8))
    counts, areas = _tally(mask, hidden, PixelArea(work.scene.grid).window(tile.core))
    seconds = {
        "read": read - started,
        "wait": begun - read,
        "compute": computed - begun,
        "write": clock() - computed,
    }
    return TileRecord(tile.name, digest, counts, areas, seconds)


def _labeller(work: Work) -> Label:
    predictor = _predictor(work.model, work.model_sha256, work.scale, work.offset, work.precision)
    return partial(
        predictor,
        confidence="confidence" in work.layers,
        probabilities="probabilities" in work.layers,
    )


_DEVICE = Lock()
_LOADING = Lock()


def _predictor(*key: Any) -> Predictor:
    with _LOADING:
        return _load_predictor(*key)


@lru_cache(maxsize=2)
def _load_predictor(
    path: str,
    sha256: str,
    scale: tuple[float, ...],
    offset: tuple[float, ...],
    precision: Precision,
) -> Predictor:
    model = load_model(path)
    if model.card.sha256 != sha256:
        raise ModelError(f"{path}: this worker has another file than the client ({sha256[:12]})")
    return Predictor(model.network, model.card, scale, offset, precision)


def _masked(layer: np.ndarray, valid: np.ndarray) -> np.ndarray:
    keep = valid if layer.ndim == 2 else valid[:, :, None]
    return np.where(keep, layer, np.uint8(NODATA))


def _tally(
    mask: np.ndarray, hidden: np.ndarray, area: np.ndarray
) -> tuple[dict[str, int], dict[str, float]]:
    """Pixels and square metres of each class value, and of what a mask hides."""
    pixels = np.bincount(mask.ravel(), minlength=NODATA + 1)
    metres = np.bincount(mask.ravel(), weights=area.ravel(), minlength=NODATA + 1)
    present = [value for value in np.flatnonzero(pixels).tolist() if value != NODATA]
    counts = {str(value): int(pixels[value]) for value in present}
    areas = {str(value): float(metres[value]) for value in present}
    if hidden.any():
        counts[HIDDEN] = int(hidden.sum())
        areas[HIDDEN] = float(area[hidden].sum())
    return counts, areas


def _tiles_per_task(records: list[TileRecord]) -> int:
    busy = [sum(s for k, s in r.seconds.items() if k != "wait") for r in records]
    seconds = sum(busy) / len(busy)
    return max(1, min(MOST_TILES_PER_TASK, round(SHORTEST_TASK / max(seconds, 1e-3))))


def _explained(failure: BaseException) -> BaseException:
    if isinstance(failure, distributed.KilledWorker):
        return OutputError(
            f"a worker process died again and again on {failure.task}; it may lack memory: "
            "choose a smaller --window or fewer --workers, then run with --resume"
        )
    return failure
