"""One run into one output folder: lock, journal, tile store, and what a resume may take over."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from geounet.atomic import free_at, write_bytes
from geounet.errors import OutputError, SettingsError
from geounet.placing import refuse_name
from geounet.store import Journal, TileRecord, TileStore

WORK = ".geounet"
KEPT = "finished.jsonl"
"""The journal of a finished job that was asked to keep its tiles."""
_PARTS = re.compile(
    r"\.(mask(\.tif\.aux)?|confidence|probabilities|score|loss_date|features|alerts|zones|report"
    r"|config|metrics|model|learning|predictions|confusion)"
    r"\.\w+\.part(\.\w+)?"
)


class Taken(NamedTuple):
    """The committed tiles of an earlier run that lie as they were; how many do not any more."""

    records: Mapping[str, TileRecord]
    gone: int = 0


@dataclass(frozen=True)
class Job:
    """An output folder that this process holds the lock of."""

    out: Path
    journal: Journal
    store: TileStore

    def begin(
        self,
        fingerprint: Mapping[str, Any],
        resume: bool,
        holds: Callable[[TileRecord], bool] | None = None,
    ) -> Taken:
        """Start the journal, or take over the committed tiles of an earlier run.

        ``holds`` tells whether a tile lies as it was; without it the tile store does.

        Raises:
            SettingsError: on resume, if the fingerprint changed, naming the field.
        """
        earlier, records = self.journal.read()
        if not (resume and earlier):
            with _writing(self.out):
                self.store.objects.begin()
            self.journal.start(fingerprint)
            return Taken({})
        refuse_difference(self.out, earlier, fingerprint)
        sound = list(filter(holds or self.store.holds, records.values()))
        self.journal.mend(fingerprint, sound)
        return Taken({record.tile: record for record in sound}, len(records) - len(sound))

    def earlier_fingerprint(self) -> dict[str, Any] | None:
        """What an unfinished run in this folder began with."""
        return self.journal.read()[0]

    @property
    def scratch_is_shared(self) -> bool:
        """False where workers reach the tiles by an address, and may not see our folders."""
        return "://" not in self.store.where

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder that client and workers share, for the length of a block."""
        at = self.journal.path if "://" in self.store.where else Path(self.store.where)
        folder = at.with_name("scratch")
        refuse_link(folder)
        with _writing(self.out):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, keep_work: bool) -> None:
        """The outputs are placed: the tile store has done its duty."""
        if keep_work:
            self.journal.path.replace(self.journal.path.with_name(KEPT))
        else:
            self.journal.path.unlink(missing_ok=True)
            self.store.objects.remove()


@contextmanager
def hold(out: Path) -> Iterator[Path]:
    """The work folder of ``out``, locked for this process; a new ``out`` is not left empty.

    Raises:
        OutputError: if another job runs there, or if it cannot be written.
    """
    refuse_name(out)
    work, is_new = out / WORK, not out.exists()
    refuse_link(work)
    with _writing(out):
        work.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(work / "lock", out):
            yield work
    finally:
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def refuse_link(folder: Path) -> None:
    """Raise if a folder of ours is a link.

    Raises:
        OutputError: naming it.
    """
    if folder.is_symlink():
        raise OutputError(f"{folder}: is a link, and could lead anywhere; remove it")


@contextmanager
def open_job(
    out: Path,
    names: tuple[str, ...],
    overwrite: bool = False,
    resume: bool = False,
    store: str | None = None,
) -> Iterator[Job]:
    """Hold ``out`` for one job, which will write files of these names.

    Its tiles are kept there too, or under a name of its own at ``store``, a folder or an address.

    Raises:
        OutputError: if another job runs there, or if it holds results or an unfinished job and
            neither ``overwrite`` nor ``resume`` was asked for, or if it cannot be written.
    """
    refuse_name(out)
    refuse_link(out / WORK / "tiles")
    with hold(out):
        work = (out / WORK).resolve()
        tiles = _place_of(work, store) if store else str(work / "tiles")
        job = Job(out, Journal(work / "journal.jsonl"), TileStore(tiles))
        yield from _held(job, names, overwrite, resume)


def _place_of(work: Path, store: str) -> str:
    """Where at a store that jobs share the tiles of this one lie: no other's are ever touched.

    The name is drawn and kept beside the journal, so that a resume finds it on another machine too.
    """
    kept = work / "name"
    own = kept.read_text() if kept.is_file() else ""
    if not re.fullmatch("[0-9a-f]{16}", own):
        own = secrets.token_hex(8)
        write_bytes(kept, own.encode())
    if "://" in store:
        return f"{store.rstrip('/')}/geounet-{own}/tiles"
    return str(Path(store).resolve() / f"geounet-{own}" / "tiles")


def _held(job: Job, names: tuple[str, ...], overwrite: bool, resume: bool) -> Iterator[Job]:
    """A job whose folder is locked; a work folder without a journal goes with it."""
    out, work = job.out, job.out / WORK
    try:
        for name in names:
            if (out / name).is_dir():
                raise OutputError(f"{out / name}: is a folder; remove it, or use another OUT")
        if not overwrite:
            _refuse_what_is_there(job, names, resume)
        remove_parts(out)
        yield job
    finally:
        # A training may have its checkpoints beside the journal.
        kept = (job.journal.path, work / KEPT, work / "training")
        if not any(path.exists() for path in kept):
            shutil.rmtree(work, ignore_errors=True)


def refuse_difference(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise unless both fingerprints, as JSON, are the same.

    Raises:
        SettingsError: naming the first field that changed.
    """
    difference = first_difference(before, json.loads(json.dumps(now)))
    if difference:
        raise SettingsError(
            f"{out}: cannot resume, {difference}; restore it, or start with --overwrite"
        )


def first_difference(before: Any, now: Any, name: str = "") -> str:
    """The first field, by path, in which two fingerprints differ; empty if they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            path = f"{name}.{key}" if name else key
            difference = first_difference(before.get(key), now.get(key), path)
            if difference:
                return difference
        return ""
    if _are_files(before) and _are_files(now) and len(before) == len(now):
        pairs = zip(before, now, strict=True)
        found = (first_difference(a, b, f"{name}.{b['file']}") for a, b in pairs)
        return next(filter(None, found), "")
    return "" if before == now else f"{name} was {_short(before)} and is now {_short(now)}"


def _are_files(value: Any) -> bool:
    """True for a list of what is known of files, each with its name."""
    return isinstance(value, list) and all(isinstance(e, dict) and "file" in e for e in value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_what_is_there(job: Job, names: tuple[str, ...], resume: bool) -> None:
    unfinished = job.earlier_fingerprint() is not None
    if resume and (unfinished or (job.out / "report.json").exists()):
        return
    if unfinished:
        raise OutputError(
            f"{job.out}: holds an unfinished job; go on with --resume, or start with --overwrite"
        )
    for name in names:
        if (job.out / name).exists():
            raise OutputError(f"{job.out / name}: exists; use another folder, or --overwrite")


def remove_parts(out: Path) -> None:
    """Remove what a killed job of this folder left at temporary names: ours, and no others."""
    for path in out.iterdir():
        if not _PARTS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{out}: not a folder that can be written ({error.strerror or error}; {free_at(out)})"
        ) from error


@contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
    # flock, not a pid file: the kernel lets go of it however the process ends.
    with _writing(out):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another job"
            raise OutputError(f"{out}: locked by {holder}; wait for it or stop it") from None
        if not (path.exists() and os.path.samestat(os.fstat(handle), path.stat())):
            # The job that held it removed the file, and a lock on no file keeps nobody out.
            raise OutputError(f"{out}: another job has just ended there; run the command again")
        since = datetime.now(UTC).isoformat(timespec="seconds")
        with _writing(out):
            os.ftruncate(handle, 0)
            os.write(handle, f"pid {os.getpid()} on {socket.gethostname()} since {since}".encode())
        yield
    finally:
        os.close(handle)
