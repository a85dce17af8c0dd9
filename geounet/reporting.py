"""How a job tells what it does: one protocol, so that flow code prints nothing."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What a caller may want to hear while a job runs."""

    def note(self, text: str) -> None:
        """Something the user should know; one line."""

    def start(self, what: str, pixels: int, done: int) -> None:
        """A stage of ``pixels`` begins, of which ``done`` were done by an earlier run."""

    def advance(self, pixels: int) -> None:
        """So many more pixels of the stage are done."""

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

    def finish(self) -> None:
        pass
