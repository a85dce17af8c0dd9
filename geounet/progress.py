"""How a job's progress looks: a bar on a terminal, a line now and then elsewhere, or JSON lines.

Everything goes to standard error; standard output is for data.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TextIO

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from geounet.locations import one_line
from geounet.reporting import Reporter, Silence, duration

Style = Literal["auto", "plain", "json", "none"]
SECONDS_BETWEEN_LINES = 10.0
WIDTH = 80
"""Columns of the usual terminal."""
TOLD = {
    "epoch": "epoch",
    "loss": "loss",
    "validation_loss": "validation loss",
    "macro_iou": "mean IoU",
}
"""The figures of a record that are shown, and what they are called."""


def make_reporter(style: Style = "auto", quiet: bool = False) -> Reporter:
    """The reporter for a command: ``auto`` is a bar on a terminal and plain lines elsewhere."""
    if quiet:
        return Silence()
    if style == "auto":
        return Bar() if sys.stderr.isatty() else Lines(sys.stderr, as_json=False)
    if style == "none":
        return Notes(sys.stderr)
    return Lines(sys.stderr, as_json=style == "json")


@dataclass
class Pace:
    """How fast pixels are done: the speed of this run, not of what an earlier one left."""

    total: int
    done: int
    now: int = 0
    started: float = field(default_factory=time.monotonic)

    def advance(self, pixels: int) -> None:
        self.now += pixels

    @property
    def share(self) -> float:
        return (self.done + self.now) / self.total if self.total else 1.0

    @property
    def speed(self) -> float:
        """Pixels per second."""
        return self.now / max(time.monotonic() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        left = self.total - self.done - self.now
        return left / self.speed if self.now else None

    def __str__(self) -> str:
        left = "…" if self.seconds_left is None else duration(self.seconds_left)
        return f"{100 * self.share:3.0f} %  {self.speed / 1e6:.2f} Mpx/s  {left} left"


def lines_of(fields: Mapping[str, object]) -> str:
    """What is most asked of an epoch's record, in one line or two that fit a terminal.

    ``epoch 3  loss 0.412  validation loss 0.38  mean IoU 0.87``, then ``IoU land 0.93  water 0.81``
    where that fits too: metrics.jsonl has all of it.
    """
    first = [f"{told} {_short(fields[name])}" for name, told in TOLD.items() if name in fields]
    first += [f"skipped {fields['skipped']}"] if fields.get("skipped") else []
    scores = fields.get("iou")
    second = "  IoU " if isinstance(scores, Mapping) and scores else ""
    if isinstance(scores, Mapping):
        second += "  ".join(f"{name} {_short(score)}" for name, score in scores.items())
    return "\n".join(filter(None, ["  ".join(first), second if len(second) <= WIDTH else ""]))


def _short(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Notes(Silence):
    """Notes only, no progress."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def note(self, text: str) -> None:
        self._stream.write(f"note: {one_line(text)}\n")
        self._stream.flush()


class Lines:
    """A line at most every ten seconds, as text or as JSON, for logs and other programs."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream, self._json = stream, as_json
        self._what, self._pace, self._told = "", Pace(0, 0), 0.0
        self._figures = ""

    def note(self, text: str) -> None:
        self._write(f"note: {one_line(text)}", {"event": "note", "text": text})

    def start(self, what: str, pixels: int, done: int) -> None:
        self._what, self._pace, self._told = what, Pace(pixels, done), time.monotonic()
        self._figures = ""

    def advance(self, pixels: int) -> None:
        self._pace.advance(pixels)
        if time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._tell()

    def show(self, figures: str) -> None:
        self._figures = figures

    def record(self, fields: Mapping[str, object]) -> None:
        self._write(lines_of(fields), {"event": "record", **fields})

    def finish(self) -> None:
        self._tell()

    def _tell(self) -> None:
        pace, self._told = self._pace, time.monotonic()
        event = {
            "event": "progress",
            "stage": self._what,
            "pixels": pace.done + pace.now,
            "total": pace.total,
            "pixels_per_second": round(pace.speed),
            "seconds_left": pace.seconds_left,
            "figures": self._figures,
        }
        self._write("  ".join([f"{self._what}: {pace}", self._figures]).rstrip(), event)

    def _write(self, text: str, event: dict[str, object]) -> None:
        self._stream.write((json.dumps(event) if self._json else text) + "\n")
        self._stream.flush()


class _Progress(Progress):
    """Bars, and below them a line of figures: beside a bar, a terminal would cut them."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(f"  {self.figures}", no_wrap=True, overflow="ellipsis")


class Bar:
    """A bar with pixels per second and the time left, and the figures of the stage below it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._pace = Pace(0, 0)
        self._progress: _Progress | None = None

    def note(self, text: str) -> None:
        note = f"[yellow]note:[/] {escape(one_line(text))}"
        self._console.print(note, highlight=False, soft_wrap=True)

    def start(self, what: str, pixels: int, done: int) -> None:
        self._pace = Pace(pixels, done)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[pace]}"),
        )
        self._progress = _Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task(what, total=pixels, completed=done, pace="")
        self._progress.start()

    def advance(self, pixels: int) -> None:
        self._pace.advance(pixels)
        if self._progress is not None:
            self._progress.update(self._task, advance=pixels, pace=str(self._pace))

    def show(self, figures: str) -> None:
        if self._progress is not None:
            self._progress.figures = figures

    def record(self, fields: Mapping[str, object]) -> None:
        self._console.print(lines_of(fields), highlight=False, markup=False, soft_wrap=True)

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
