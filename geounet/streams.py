"""Standard output and error that may be closed or full: talk is passed over, lost data is not.

A job must not end because nobody listens: a pipe that was closed, a log on a full disk, a service
that has no terminal.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from geounet.errors import OutputError


class NobodyReads(Exception):  # noqa: N818
    """Whoever read standard output has gone, as ``head`` does: what was asked for is done."""


class Guarded:
    """A stream whose failures ``on_error`` decides about."""

    def __init__(self, stream: TextIO | None, on_error: Callable[[OSError], None]) -> None:
        self._stream = stream if stream is not None else Path(os.devnull).open("w")  # noqa: SIM115
        self._on_error = on_error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._on_error(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._on_error(error)


def guard() -> None:
    """Guard both, for the rest of the process; characters that they cannot show are escaped.

    What libraries log and warn of is not for the user: what matters of it, we say. ``python -W``
    and PYTHONWARNINGS still show warnings.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout = Guarded(sys.stdout, _data_lost)
    sys.stderr = Guarded(sys.stderr, lambda _error: None)


def _data_lost(error: OSError) -> None:
    # What is left in its buffer would fail once more when Python ends.
    sys.stdout = Guarded(None, lambda _error: None)
    if isinstance(error, BrokenPipeError):
        raise NobodyReads from error
    raise OutputError(
        f"standard output: cannot be written ({error.strerror}); files are written as they were "
        "asked for; print to another place"
    ) from error
