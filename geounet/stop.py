"""Ctrl-C and SIGTERM as a request: what runs is finished and committed, then the job ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopRequest:
    """``exit_code`` is 0 until a signal asks the job to stop."""

    exit_code = 0

    def __call__(self) -> bool:
        return bool(self.exit_code)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first signal into a request; a second one acts at once, as if we were not here."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in EXIT_CODES}

    def ask(number: int, _frame: FrameType | None) -> None:
        request.exit_code = EXIT_CODES[signal.Signals(number)]
        for other in EXIT_CODES:
            signal.signal(other, signal.SIG_DFL)

    for number in EXIT_CODES:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
