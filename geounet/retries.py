"""Trying again: how often, how long, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from geounet.transfer_error import TransferError

Result = TypeVar("Result")

TRIES = 6
"""Requests at most for one piece of a remote file."""
FIRST_PAUSE = 0.5


def with_deadline(
    attempt: Callable[[float], Result],
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """The first result of ``attempt(seconds that are left)``, tried up to TRIES times.

    Pauses double from FIRST_PAUSE, by chance up to a quarter longer, so that tiles that failed
    together do not come back together; a longer pause that the server asks for is kept.

    Raises:
        TransferError: what no further try can help, or the last failure, with the tries and the
            seconds they took.
    """
    start = clock()
    for tried in range(1, TRIES + 1):
        try:
            return attempt(max(0.01, deadline - (clock() - start)))
        except TransferError as error:
            if not error.again:
                raise
            pause = max(error.pause, FIRST_PAUSE * 2 ** (tried - 1) * random.uniform(1, 1.25))
            spent = clock() - start
            if tried == TRIES or spent + pause >= deadline:
                raise _given_up(error, tried, spent) from None
            sleep(pause)
    raise AssertionError("the last try returns or raises")


def _given_up(error: TransferError, tried: int, spent: float) -> TransferError:
    tries = "1 try" if tried == 1 else f"{tried} tries"
    wish = f", and asks for a pause of {error.pause:g} s" if error.pause else ""
    return TransferError(
        f"{error.cause}{wish}; given up after {tries} in {spent:.0f} s",
        "run the same command again with --resume later, or raise --read-deadline",
    )


def repeated(
    attempt: Callable[[], Result],
    pauses: Sequence[float],
    failures: tuple[type[BaseException], ...],
    before: Callable[[], None] = lambda: None,
) -> Result:
    """The first result of ``attempt``, tried again after each pause; ``before`` runs before that.

    Raises:
        BaseException: the last of ``failures``, or the first of any other kind.
    """
    for pause in pauses:
        try:
            return attempt()
        except failures:
            time.sleep(pause)
            before()
    return attempt()
