"""One reporter for jobs that run beside each other: each has the bar in turn, none is lost.

A terminal has room for one bar. The job that begins a stage first has it until the stage ends;
then the next job that has something to tell goes on with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from geounet.reporting import Reporter


class Floor:
    """Who of several jobs is heard, and by whom."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.lock = Lock()
        self.speaker: Turn | None = None

    def of(self, name: str) -> Turn:
        """The reporter of the job of this name."""
        return Turn(self, name)


@dataclass
class _Stage:
    what: str
    pixels: int
    done: int


class Turn:
    """The reporter of one job among several."""

    def __init__(self, floor: Floor, name: str) -> None:
        self._floor, self._name = floor, name
        self._stage: _Stage | None = None

    def note(self, text: str) -> None:
        with self._floor.lock:
            self._floor.reporter.note(text)

    def start(self, what: str, pixels: int, done: int) -> None:
        with self._floor.lock:
            self._stage = _Stage(f"{self._name}: {what}", pixels, done)
            self._take()

    def advance(self, pixels: int) -> None:
        with self._floor.lock:
            if self._take():
                self._floor.reporter.advance(pixels)
            if self._stage is not None:
                self._stage.done += pixels

    def show(self, figures: str) -> None:
        with self._floor.lock:
            if self._take():
                self._floor.reporter.show(figures)

    def record(self, fields: Mapping[str, object]) -> None:
        with self._floor.lock:
            self._floor.reporter.record(fields)

    def finish(self) -> None:
        with self._floor.lock:
            self._stage = None
            if self._floor.speaker is self:
                self._floor.speaker = None
                self._floor.reporter.finish()

    def _take(self) -> bool:
        """Have the bar, if nobody else has; True if it is ours."""
        if self._floor.speaker is None and self._stage is not None:
            self._floor.speaker = self
            stage = self._stage
            self._floor.reporter.start(stage.what, stage.pixels, stage.done)
        return self._floor.speaker is self
