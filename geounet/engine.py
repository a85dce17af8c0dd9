"""The tile engine: Dask workers do items, a bounded number at a time, and the client commits them.

A worker has three threads and one lock on its device (forward.py): while one tile is computed,
another is read and a third written. Tasks are small values and module-level functions
(labelling.py, learn/scoring.py). Only the client commits, so one writer appends to the journal.

An item that takes its process with it, never ends, or lacks memory is a suspect. So are all that
were in its task or its process, so that suspects are tried once more at the end, each alone: what
fails then is lost, and the rest is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from distributed import Client

from geounet.errors import ClusterError, GeounetError, InputError, LostItemError
from geounet.flights import Flight, Flights

SHORTEST_TASK = 0.05
"""Seconds below which items share a task: the scheduler takes about 0.004 s for each."""
MOST_ITEMS_PER_TASK = 16
PATIENCE = 3600.0


class Timed(Protocol):
    """What a task returns of one item: its seconds by stage, of which ``wait`` is not work."""

    @property
    def seconds(self) -> Mapping[str, float]: ...


Item = TypeVar("Item")
Record = TypeVar("Record", bound=Timed)
Commit = Callable[[Sequence[Record]], None]


@dataclass(frozen=True)
class Trouble(Generic[Item]):
    """What is done about items that cannot be done.

    Attributes:
        seconds: that one item may take before its process is stopped.
        unreadable: True if an item whose input cannot be read is lost, and not the end of all.
        name: how messages call an item.
        lose: is told of each lost item; without it the first one ends all.
    """

    seconds: float = PATIENCE
    unreadable: bool = False
    name: Callable[[Item], str] = str
    lose: Callable[[Item, str], None] | None = None


def run(
    client: Client,
    task: Callable[[tuple[Item, ...]], list[Record]],
    items: Iterable[Item],
    commit: Commit[Record],
    should_stop: Callable[[], bool],
    trouble: Trouble[Item] | None = None,
) -> None:
    """Do ``items`` in order, committing each as it is done, until all are or a stop is asked.

    ``task`` does some items, for example ``partial(label_tiles, work)``; it and they are pickled.
    When asked to stop, or when an item fails, what is in flight is still committed.

    Raises:
        GeounetError: of the first item that failed.
        ClusterError: if the scheduler or all workers are gone, or an item is that may not be lost.
    """
    trouble = trouble or Trouble()
    queue = _Queue(items)
    failure: BaseException | None = None
    with Flights(client, task, trouble.seconds) as flights:
        while True:
            if failure is None and not should_stop():
                queue.send(flights)
            if not flights:
                break
            landed = flights.next()
            if landed is None:
                continue
            if landed.error is None:
                commit(landed.records)
                queue.measure(landed.records)
            elif not _may_be_lost(landed.error, trouble):
                failure = failure or landed.error
            elif not landed.flight.alone:
                queue.suspect(landed.flight.items)
            else:
                failure = failure or _lost(landed.flight.items[0], landed.error, trouble)
    if failure is not None:
        raise failure


class _Queue(Generic[Item]):
    """What is still to be done: items in order, several a task if they are short; then suspects."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._waiting = deque(items)
        self._suspects: deque[Item] = deque()
        self._size = 1

    def send(self, flights: Flights) -> None:
        """As many as may be in flight; a suspect only while nothing else is."""
        while self._waiting and flights.has_room:
            group = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            flights.start(Flight(tuple(group)))
        if self._suspects and not flights:
            flights.start(Flight((self._suspects.popleft(),), alone=True))

    def suspect(self, items: Sequence[Item]) -> None:
        self._suspects.extend(items)

    def measure(self, records: Sequence[Timed]) -> None:
        """Learn from a finished task how many items the next may have."""
        busy = [sum(s for k, s in r.seconds.items() if k != "wait") for r in records]
        seconds = sum(busy) / len(busy)
        self._size = max(1, min(MOST_ITEMS_PER_TASK, round(SHORTEST_TASK / max(seconds, 1e-3))))


def _may_be_lost(error: BaseException, trouble: Trouble[Any]) -> bool:
    """True if the error tells of one item and not of all."""
    return isinstance(error, LostItemError) or (
        trouble.unreadable and isinstance(error, InputError)
    )


def _lost(item: Item, error: BaseException, trouble: Trouble[Item]) -> GeounetError | None:
    """Tell of a lost item; or the error that ends all, where none may be lost."""
    cause = str(error)
    if trouble.lose is None:
        return ClusterError(
            f"{trouble.name(item)}: {cause}; choose a smaller --window or fewer --workers, and run "
            "it again"
        )
    trouble.lose(item, cause)
    return None
