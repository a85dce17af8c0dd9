"""Ctrl-C and SIGTERM as a request: what runs is finished and committed, then the job ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from geounet.errors import InterruptedJobError, OutputError
from geounet.reporting import Reporter

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopRequest:
    """``exit_code`` is 0 until a signal asks the job to stop."""

    exit_code = 0

    def __call__(self) -> bool:
        return bool(self.exit_code)

    def ask(self) -> None:
        """Stop as if the system had asked, because something else failed."""
        self.exit_code = self.exit_code or EXIT_CODES[signal.SIGTERM]


@dataclass(frozen=True)
class Talk:
    """What a job says, and to whom; and whether it was asked to stop.

    Attributes:
        out: the job, as it is called in messages.
        reporter: is told of notes and progress.
        stop: whether a stop was asked for.
        go_on: the next step after a stop.
    """

    out: Path
    reporter: Reporter
    stop: StopRequest
    go_on: str = "run the same command with --resume to go on"

    def interrupted(self, how_far: str) -> InterruptedJobError:
        """That the job stopped, ``how_far``, and what to do."""
        message = f"{self.out}: stopped {how_far}; {self.go_on}"
        return InterruptedJobError(message, self.stop.exit_code or OutputError.exit_code)

    def go_on_or_stop(self, how_far: str) -> None:
        """Return, unless a stop was asked for.

        Raises:
            InterruptedJobError: if it was.
        """
        if self.stop():
            raise self.interrupted(how_far)


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
