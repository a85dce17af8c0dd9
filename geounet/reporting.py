"""How a job tells what it does: one protocol, so that flow code prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Reporter(Protocol):
    """What a caller may want to hear while a job runs."""

    def note(self, text: str) -> None:
        """Something the user should know; one line."""

    def start(self, what: str, pixels: int, done: int) -> None:
        """A stage of ``pixels`` begins, of which ``done`` were done by an earlier run."""

    def advance(self, pixels: int) -> None:
        """So many more pixels of the stage are done."""

    def show(self, figures: str) -> None:
        """Figures of the stage so far; they take the place of those shown before."""

    def record(self, fields: Mapping[str, object]) -> None:
        """A part of the stage is complete, with these results; they stay."""

    def finish(self) -> None:
        """The stage is over."""


class Silence:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        pass

    def start(self, what: str, pixels: int, done: int) -> None:
        pass

    def advance(self, pixels: int) -> None:
        pass

    def show(self, figures: str) -> None:
        pass

    def record(self, fields: Mapping[str, object]) -> None:
        pass

    def finish(self) -> None:
        pass


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
