"""Tasks that are under way on Dask workers: a bounded number, each with a time by which it is due.

Dask tells of a finished task, and of one whose worker died again and again. It does not tell of a
task that never ends, of a scheduler that is gone, or that no worker is left: that is seen here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from queue import Empty, Queue
from types import TracebackType
from typing import Any

import distributed
from distributed import Client, Future
from distributed.client import ClosedClientError

from geounet.errors import ClusterError, LostItemError

GONE = (OSError, CancelledError, ClosedClientError)
"""What Dask raises where a connection ends, or ended a moment ago."""
POLL = 0.5
"""Seconds between looks at what Dask does not tell."""
LONELY = 60.0
"""Seconds that a cluster may be without any worker, or a client without its scheduler."""


@dataclass(frozen=True)
class Flight:
    """Items that share a task; ``alone`` if nothing else is in flight beside it."""

    items: tuple[Any, ...]
    alone: bool = False


@dataclass(frozen=True)
class Landed:
    """How a flight ended: with records, or with an error."""

    flight: Flight
    records: list[Any] = field(default_factory=list)
    error: BaseException | None = None


class Flights:
    """At most as many as the workers have threads, and one more for each, to be there at once.

    Args:
        client: of the workers.
        task: does the items of a flight.
        seconds: that an item may take.
    """

    def __init__(self, client: Client, task: Callable[..., Any], seconds: float) -> None:
        self._client, self._task, self._seconds = client, task, seconds
        self._under_way: dict[Future, tuple[Flight, float]] = {}
        self._forgotten: deque[Flight] = deque()
        self._done: Queue[Future] = Queue()
        self._limit, self._looked, self._alone = 1, -POLL, 0.0

    def __enter__(self) -> Flights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._client.status == "running":
            self._client.cancel(list(self._under_way))
        self._under_way.clear()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._forgotten)

    @property
    def has_room(self) -> bool:
        self._look()
        return len(self) < self._limit

    def start(self, flight: Flight) -> None:
        """Send a flight off; one that cannot be sent now begins anew with its scheduler."""
        try:
            future = self._client.submit(self._task, flight.items, pure=False)
        except GONE:
            self._forgotten.append(flight)
            return
        self._under_way[future] = flight, time.monotonic()
        future.add_done_callback(self._done.put)

    def next(self) -> Landed | None:
        """A flight that ended; None if none did for a moment.

        Raises:
            ClusterError: if there is nobody to wait for, or if a task of this process never ends.
        """
        if self._forgotten and self._client.status == "running":
            self.start(self._forgotten.popleft())
        try:
            future = self._done.get(timeout=POLL)
        except Empty:
            self._look()
            return self._late()
        if future not in self._under_way:
            return None
        flight, _ = self._under_way.pop(future)
        try:
            return self._outcome(future, flight)
        except GONE:
            # Lost with its scheduler: it begins anew when there is one again.
            self._forgotten.append(flight)
            return None

    def _outcome(self, future: Future, flight: Flight) -> Landed:
        if future.status != "error":
            # Raises if the task was cancelled with its scheduler, or cannot be fetched.
            return Landed(flight, records=future.result())
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            error = LostItemError("the worker process died each time; it may lack memory")
        return Landed(flight, error=error)

    def _late(self) -> Landed | None:
        """The flight that is longest overdue: its worker is stopped, and the item a suspect."""
        now = time.monotonic()
        for future, (flight, started) in self._under_way.items():
            # One task for each worker waits behind others, which may take as long.
            if now - started > 2 * self._seconds * len(flight.items):
                del self._under_way[future]
                self._stop_worker_of(future)
                self._begin_anew()
                return Landed(flight, error=LostItemError(f"not done after {self._seconds:g} s"))
        return None

    def _begin_anew(self) -> None:
        """What the stopped worker had goes on elsewhere, and is due later."""
        now = time.monotonic()
        self._under_way = {f: (flight, now) for f, (flight, _) in self._under_way.items()}

    def _stop_worker_of(self, future: Future) -> None:
        """Start the worker anew that has this task: a thread cannot be stopped, a process can."""
        stuck = [w for w, keys in self._client.processing().items() if future.key in keys]
        future.cancel()
        try:
            self._client.restart_workers(stuck, timeout=LONELY, raise_for_error=False)
        except ValueError as error:
            raise ClusterError(
                f"a tile is not done after {self._seconds:.0f} s, and its worker has no nanny that "
                "could start it anew; run with --resume, and with --workers 1, a worker with a "
                "nanny, or a longer --tile-timeout"
            ) from error

    def _look(self) -> None:
        """Count the threads anew, now and then: workers of a cluster come and go."""
        moment = time.monotonic()
        if moment - self._looked < POLL:
            return
        since, self._looked = moment - self._looked, moment
        threads = self._threads()
        if threads:
            self._limit, self._alone = sum(threads.values()) + len(threads), 0.0
            return
        # While a result is fetched nobody looks, and that time tells nothing of the workers.
        self._alone += min(since, 10 * POLL)
        if self._alone > LONELY:
            raise ClusterError(
                f"no worker has answered for {LONELY:.0f} s; start one with `dask worker`, "
                "and run with --resume"
            )

    def _threads(self) -> dict[str, int]:
        """Threads by worker; empty if nobody answers.

        Raises:
            ClusterError: if the scheduler is gone for good.
        """
        if self._client.status in ("closed", "closing"):
            raise ClusterError("the Dask scheduler is gone; start it again, and run with --resume")
        if self._client.status != "running":
            return {}
        try:
            return dict(self._client.nthreads())
        except GONE:
            return {}
