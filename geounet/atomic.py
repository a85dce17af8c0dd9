"""A file at its final name is complete: written beside it, flushed to disk, then renamed."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geounet.errors import OPEN_FILES, OutputError

FULL = 1 << 20
"""Bytes: with less, a disk is called full, whatever a library says of a file that was cut short."""


def write_bytes(path: Path, data: bytes) -> None:
    """``path`` holds all of ``data``, or what it held before."""
    with placed(path) as part:
        part.write_bytes(data)


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; placed when the block ends without an error.

    The suffix stays last, since GDAL's drivers look at it. On an error the temporary file goes.

    Raises:
        OutputError: naming the path, if the folder cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        cause = error.strerror or error
        raise OutputError(
            f"{path}: cannot be written ({cause}; {free_at(path)}); {_remedy(error)}, and run the "
            "command again"
        ) from error
    finally:
        # Where a parent is a file, unlink fails too: the error above is the one to tell.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _remedy(error: OSError) -> str:
    if error.errno in OPEN_FILES:
        return "allow more open files with `ulimit -n 1024`"
    return "make room, or see to the folder's permissions"


def free_at(path: Path) -> str:
    """The room on the disk of ``path``, as errors about a file there tell it."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    try:
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        if limit != resource.RLIM_INFINITY and limit < free:
            return f"a file may have {limit:,} bytes here, see `ulimit -f`; {free:,} bytes free"
        return f"{'the disk is full, ' if free < FULL else ''}{free:,} bytes free"
    except OSError:
        return "free space unknown"


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
