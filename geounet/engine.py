"""The tile engine: Dask workers do tiles, a bounded number at a time, and the client commits them.

A worker has three threads and one lock on its device (forward.py): while one tile is computed,
another is read and a third written. Tasks are small values and module-level functions
(labelling.py, learn/scoring.py). Only the client commits, so one writer appends to the journal.
"""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import distributed
from distributed import Client, LocalCluster, Worker, WorkerPlugin

from geounet.errors import OutputError, SettingsError

THREADS = 3
SHORTEST_TASK = 0.05
"""Seconds below which tiles share a task: the scheduler takes about 0.004 s for each."""
MOST_TILES_PER_TASK = 16


class Timed(Protocol):
    """What a task returns of one item: its seconds by stage, of which ``wait`` is not work."""

    @property
    def seconds(self) -> Mapping[str, float]: ...


Item = TypeVar("Item")
Record = TypeVar("Record", bound=Timed)


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
    task: Callable[[tuple[Item, ...]], list[Record]],
    items: Iterable[Item],
    commit: Callable[[Record], None],
    should_stop: Callable[[], bool],
) -> None:
    """Do ``items`` in order, committing each as it is done, until all are or a stop is asked.

    ``task`` does some items, for example ``partial(label_tiles, work)``; it and they are pickled.
    When asked to stop, or when an item fails, what is in flight is still committed.

    Raises:
        GeounetError: of the first item that failed.
    """
    waiting = deque(items)
    done = distributed.as_completed(loop=client.loop)
    failure: BaseException | None = None
    in_flight, size = 0, 1
    while True:
        # Workers of a cluster come and go, so they are counted anew.
        threads = client.nthreads()
        limit = max(1, sum(threads.values()) + len(threads))
        while waiting and in_flight < limit and failure is None and not should_stop():
            group = tuple(waiting.popleft() for _ in range(min(size, len(waiting))))
            done.add(client.submit(task, group, pure=False))
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
        size = _items_per_task(records)
    if failure is not None:
        raise _explained(failure)


def _items_per_task(records: Sequence[Timed]) -> int:
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
