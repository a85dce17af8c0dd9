"""What an interrupted `vectorize` leaves for a resume: traced cells, in a hidden folder.

It lies beside the files that are to be, and is named after them: what is written of one raster in
several formats is one piece of work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from geounet.cell_files import CellFiles
from geounet.job import Job, open_job, refuse_link
from geounet.placing import made_for
from geounet.stop import Talk
from geounet.store import TileRecord
from geounet.tracing import Kept
from geounet.vector_formats import base_of
from geounet.vector_settings import VectorSettings

PLACING = "placing"
"""In the journal beside the numbers of cells: files have begun to take their names."""


@contextmanager
def open_work(paths: Sequence[Path], settings: VectorSettings) -> Iterator[Job]:
    """Hold the work on vector files of one name.

    Raises:
        OutputError: if another run works on it, or left work and neither ``overwrite`` nor
            ``resume`` was asked for, or if their folder cannot be written.
    """
    folder = paths[0].with_name(f".{base_of(paths[0])}.geounet")
    refuse_link(folder)
    with made_for(paths[0]):
        try:
            with open_job(folder, (), settings.overwrite, settings.resume) as job:
                try:
                    yield job
                finally:
                    if not job.journal.read()[1]:
                        job.finish(keep_work=False)
        finally:
            with suppress(OSError):
                folder.rmdir()


def folder_of(job: Job) -> Path:
    """Where the cells lie."""
    return Path(job.store.where)


class Permission(NamedTuple):
    """Which files may be replaced.

    Attributes:
        overwrite: all of them, with what belongs to them.
        ours: these, which an earlier run may have placed.
        journalled: what a later run must know to tell.
    """

    overwrite: bool
    ours: tuple[Path, ...]
    journalled: Mapping[str, Any]


def permission(job: Job, paths: Sequence[Path], settings: VectorSettings) -> Permission:
    """What this run may replace: what the one that it goes on with might, or had begun to place."""
    earlier, records = job.journal.read()
    if not (settings.resume and earlier):
        names = [path.name for path in paths]
        return Permission(settings.overwrite, (), {"names": names, "overwrite": settings.overwrite})
    files = earlier["files"]
    known = tuple(path for path in paths if path.name in files["names"])
    mine = known if files["overwrite"] or PLACING in records else ()
    return Permission(files["overwrite"] and len(known) == len(paths), mine, files)


def is_finished(job: Job, paths: Sequence[Path], raster: str) -> bool:
    """True if no work is left, and all files are there and younger than the raster.

    A file does not tell with which settings it was made: who changed them says ``overwrite``.
    """
    if job.earlier_fingerprint() is not None or not all(path.is_file() for path in paths):
        return False
    made_from = Path(raster)
    since = made_from.stat().st_mtime_ns if made_from.exists() else 0
    return all(path.stat().st_mtime_ns >= since for path in paths)


def kept_cells(job: Job, identity: Mapping[str, Any], resume: bool, talk: Talk) -> Kept:
    """The cells of an earlier run that lie as they were; those of this one are journalled.

    Raises:
        SettingsError: if the earlier run had another raster or other settings.
    """
    cells = CellFiles(folder_of(job))

    def holds(record: TileRecord) -> bool:
        return record.tile == PLACING or cells.holds(int(record.tile), record.sha256)

    def commit(digests: Mapping[int, str]) -> None:
        job.journal.append(*(TileRecord(str(cell), sha256=d) for cell, d in digests.items()))

    found, gone = job.begin(identity, resume, holds)
    if gone:
        talk.reporter.note(f"{talk.out}: {gone} traced parts are gone or damaged; done again")
    return Kept(frozenset(int(name) for name in found if name != PLACING), commit)


def begin_placing(job: Job) -> None:
    """From now on files at their names are ours."""
    job.journal.append(TileRecord(PLACING))
