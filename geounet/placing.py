"""Files that belong together: written in a folder beside their place, checked, then moved.

The folder lies on the same disk as the final names, so moving is a rename, and whatever a library
leaves behind when it fails (journals, overviews) goes with the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENAMETOOLONG
from pathlib import Path

from geounet.atomic import free_at, sync
from geounet.errors import OutputError

_NO_NAME = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, which GDAL drops, and what is no UTF-8, which no report could hold."""
_ROOM = 200
"""Bytes of a path that names below it take."""
LONGEST_NAME = 230
"""In bytes: a file system takes 255, and temporary names are longer than those of the files."""


@contextmanager
def folder_beside(path: Path, within: Path | None = None) -> Iterator[Path]:
    """A temporary folder on the disk of ``path``; it goes when the block ends.

    So do folders that were made for it, if nothing was put there. It lies beside ``path``, or in
    ``within``. Its path is absolute: a name such as ``s3:out`` would send GDAL to a server.

    Raises:
        OutputError: if the folder of ``path`` cannot be written.
    """
    with made_for(path):
        with named(path, OSError):
            start, end = f".{path.stem}.", ".part"
            made = tempfile.mkdtemp(prefix=start, suffix=end, dir=within or path.parent)
            folder = Path(made).absolute()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def made_for(path: Path) -> Iterator[None]:
    """The folder of ``path`` is there; what was made for it goes, if nothing was put there.

    Raises:
        OutputError: if it cannot be made.
    """
    made = [parent for parent in path.parents if not parent.exists()]
    with named(path, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for parent in made:
            # What holds a file stays.
            with suppress(OSError):
                parent.rmdir()


def place(folder: Path, path: Path) -> None:
    """Move what ``folder`` holds beside ``path``: the file that people open is the last."""
    for part in sorted(folder.iterdir(), key=lambda part: (part.name == path.name, part.name)):
        sync(part)
        part.replace(path.parent / part.name)
    sync(path.parent)


def refuse_name(path: Path) -> None:
    """Refuse a name that could not be written as it stands, is too long, or is one of GDAL's own.

    Raises:
        OutputError: naming it, with the character written out.
    """
    if _NO_NAME.search(str(path)):
        raise OutputError(f"{str(path)!r}: holds a character that file names should not; rename it")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OutputError(
            f"{path}: its name has more than {LONGEST_NAME} bytes, and temporary names are "
            "longer; choose a shorter one"
        )
    try:
        (path / ("x" * _ROOM)).lstat()
    except OSError as error:
        if error.errno in (ENAMETOOLONG, ELOOP):
            raise OutputError(
                f"{path}: cannot be an output ({error.strerror}); choose another name"
            ) from error
    if any(whole(path).startswith("/vsi") for whole in (os.path.abspath, os.path.realpath)):
        raise OutputError(
            f"{path}: names that start with /vsi are GDAL's own, and no files; choose another"
        )


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that is taken, or cannot be one.

    Raises:
        OutputError: if ``path`` exists and may not be replaced.
    """
    refuse_name(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file")
    # A link that leads nowhere is there too: the disk that it leads to may be away.
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise OutputError(f"{path}: exists; give --overwrite to replace it, or another name")


@contextmanager
def named(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Turn a library's failures into one that names the file and a way out."""
    try:
        yield
    except failures as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        raise OutputError(
            f"{path}: cannot be written ({' '.join(str(root).split())}; {free_at(path)}); "
            "check the disk's free space and the folder's permissions"
        ) from error
