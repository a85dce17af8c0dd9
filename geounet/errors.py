"""What can go wrong, and the exit code that each kind of failure ends the command with.

Every message names the file, the window or tile, the cause and the next step, on one line.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from errno import EMFILE, ENFILE
from functools import wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

OPEN_FILES = (EMFILE, ENFILE)
FEWEST_FILES = 64
"""So many open files are all that a job needs."""
INTERRUPTED = "interrupted; a job that keeps its tiles goes on with --resume"


class GeounetError(Exception):
    """A failure that was foreseen; ``exit_code`` is what the command returns for it."""

    exit_code = 1


class SettingsError(GeounetError):
    """The flags or the settings file ask for something that cannot be."""

    exit_code = 2


class InputError(GeounetError):
    """A scene, mask or label cannot be read, or cannot be trusted."""

    exit_code = 3


class PartialError(GeounetError):
    """Some inputs failed; the rest are done."""

    exit_code = 4


class OutputError(GeounetError):
    """The output exists, is locked, is full or cannot be written."""

    exit_code = 5


class ClusterError(OutputError):
    """What computes is gone: the scheduler, its workers, or a process that died."""


class LostItemError(PartialError):
    """One tile cannot be done where it was tried, and others may."""


class ModelError(GeounetError):
    """The model is damaged, or does not fit the scene."""

    exit_code = 6


class BugError(GeounetError):
    """A failure that nobody foresaw; what it was is its cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"{type(error).__name__}: {error}: this is a bug in geounet; "
            "please report it with the output of --debug and `geounet doctor`"
        )
        self.__cause__ = error


class ShortageError(OutputError):
    """The machine gives less than the work takes."""


class InterruptedJobError(GeounetError):
    """The user or the system asked the job to stop; what was done is kept."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def explained(error: Exception) -> GeounetError:
    """What left a job, as the failure that is told of: a bug, if nobody foresaw it."""
    if isinstance(error, GeounetError):
        return error
    said = ""
    if lacks_memory(error):
        said = "memory ran out; give a smaller --window or fewer --workers, or end other programs"
    elif _lacks_files(error):
        said = f"too few files may be open at once ({error}); allow more with `ulimit -n 1024`"
    if not said:
        return BugError(error)
    failure = ShortageError(f"{said}, then run the command again")
    failure.__cause__ = error
    return failure


def task(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A function for Dask: its errors are raised anew, without their causes.

    Dask pickles causes too, and GDAL's cannot be read back. Want of memory, on the device or beside
    it, is a ``LostItemError``: it says nothing of other tiles.
    """

    @wraps(function)
    def sendable(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        failure: GeounetError
        try:
            return function(*args, **kwargs)
        except GeounetError as error:
            failure = type(error)(str(error))
        except Exception as error:
            if not lacks_memory(error):
                raise
            failure = LostItemError("takes more memory than there is")
        raise failure

    return sendable


def lacks_memory(error: Exception) -> bool:
    """Whether memory ran out, on the device or beside it.

    By its text, as JAX is not imported here: XLA tells all its errors by one class.
    """
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _lacks_files(error: BaseException) -> bool:
    """By the limit, too: libraries that lack a file say all manner of things."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in OPEN_FILES:
            return True
        cause = cause.__cause__
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FEWEST_FILES
