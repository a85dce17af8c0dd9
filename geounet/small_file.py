"""What a path leads to, and text of a file that ought to be small, without trusting either."""

from __future__ import annotations

import os
import stat
from errno import EINVAL
from pathlib import Path

from geounet.errors import GeounetError, InputError

LARGEST = 1 << 31
"""Bytes that no tile, journal or report has."""


def is_file(path: str | Path) -> bool:
    """As ``Path.is_file``, which raises for a name that is too long to be any file's."""
    return os.path.isfile(path)  # noqa: PTH113


def is_there(path: str | Path) -> bool:
    """As ``Path.exists``, which raises for a name that is too long to be any file's."""
    return os.path.exists(path)  # noqa: PTH110


def read_ours(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of a file that an earlier run of ours wrote, if what lies there can be one.

    Raises:
        OSError: if it is a link, a pipe or a device, which could lead anywhere or have no end, if
            it is larger than ``most``, or cannot be read.
    """
    # Opening a pipe would wait for whoever writes.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(EINVAL, "is none of our files", str(path))
        # As much room is taken as is asked for.
        return stream.read(status.st_size)


def refuse_special(path: Path) -> None:
    """Raise for what is neither a file nor a folder: reading a pipe would wait for ever.

    Raises:
        InputError: naming it.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: is a pipe or a device, not a file; copy it into a file")


def read_small(path: Path, most: int, what: str, wrong: type[GeounetError]) -> bytes:
    """The bytes of a local file of at most ``most`` bytes.

    Args:
        path: the file.
        most: bytes; whole megabytes.
        what: it should be, as in "scene.yaml".
        wrong: the error of a file that is larger.

    Raises:
        InputError: if the file cannot be read.
        GeounetError: ``wrong``, if it is larger.
    """
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if len(text) > most:
        raise wrong(f"{path}: is larger than {most >> 20} MB; it is no {what}")
    return text
