"""Reading ahead: batches are made by threads while the device computes, and come in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

THREADS = 2
READY = 3
"""At most so many results wait or are being made, which bounds the memory."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Prefetch(Generic[Item, Result]):
    """``make(item)`` for every item, in order, made ahead by ``THREADS`` threads.

    An error of ``make`` is raised where its result would have come. Leaving the context waits for
    what is being made, at most ``THREADS`` results, and drops the rest.
    """

    def __init__(self, make: Callable[[Item], Result], items: Iterable[Item]) -> None:
        self._make, self._items = make, iter(items)
        self._pool = ThreadPoolExecutor(THREADS, "geounet-read")
        self._coming: deque[Future[Result]] = deque()

    def __enter__(self) -> Prefetch[Item, Result]:
        self._fill()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, before_waiting: Callable[[], object] = lambda: None) -> tuple[Result, float]:
        """The next result, and the seconds that were waited for it.

        ``before_waiting`` runs first where the result is not there yet: it waits for the device,
        so that what is counted is time in which the device had nothing to do.
        """
        first = self._coming.popleft()
        if not first.done():
            before_waiting()
        began = time.perf_counter()
        result = first.result()
        waited = time.perf_counter() - began
        self._fill()
        return result, waited

    def _fill(self) -> None:
        for item in islice(self._items, READY - len(self._coming)):
            self._coming.append(self._pool.submit(self._make, item))
