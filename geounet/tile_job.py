"""The tiles of a job, whatever is done with them: what an earlier run left, the rest, the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client

from geounet.engine import Trouble, run
from geounet.grid import Tile, shape_of
from geounet.job import Job
from geounet.locations import shown
from geounet.outputs import Results, finished_job
from geounet.settings import JobSettings
from geounet.stop import Talk
from geounet.store import TileRecord


@dataclass(frozen=True)
class TileWork:
    """What is done with which tiles.

    Attributes:
        what: as progress calls it.
        subject: as messages call what the tiles are of.
        task: does some tiles and returns their records; it is pickled.
        tiles: all of the job, done or not.
        settings: how long a tile may take, and whether one that cannot be read ends all.
    """

    what: str
    subject: str
    task: Callable[[tuple[Tile, ...]], list[TileRecord]]
    tiles: Sequence[Tile]
    settings: JobSettings


@dataclass(frozen=True)
class Done:
    """Every tile's record, and why some could not be done: theirs say that they are empty."""

    records: Mapping[str, TileRecord]
    lost: Mapping[str, str]


def earlier_run(job: Job, resume: bool) -> tuple[Mapping[str, Any], Results | None]:
    """The fingerprint that a resumed folder began with, and the results if it was finished."""
    if not resume:
        return {}, None
    earlier = job.earlier_fingerprint()
    finished = finished_job(job.out) if earlier is None else None
    return (earlier or {}, None) if finished is None else finished


def do_tiles(
    client: Client,
    job: Job,
    work: TileWork,
    identity: Mapping[str, Any],
    talk: Talk,
) -> Done:
    """Do what is not done yet.

    Raises:
        InterruptedJobError: if a stop was asked for; what is done is kept.
        SettingsError: on resume, if the fingerprint changed, naming the field.
    """
    tiles = work.tiles
    by_name = {tile.name: tile for tile in tiles}
    # The journal begins when there is somebody to work: a refusal leaves nothing behind.
    found, gone = job.begin(identity, work.settings.resume)
    if gone:
        talk.reporter.note(
            f"{work.subject}: {gone} of {len(found) + gone} finished tiles are gone from "
            f"{shown(job.store.where)} or damaged, and are done again"
        )
    records = {name: record for name, record in found.items() if name in by_name}
    lost = _run(client, job, work, records, talk)
    if talk.stop() or len(records) + len(lost) < len(tiles):
        raise talk.interrupted(f"with {len(records)} of {len(tiles)} tiles done")
    # They are not journalled: a resume tries them again.
    return Done(records | {name: TileRecord(name) for name in lost}, lost)


def _run(
    client: Client,
    job: Job,
    work: TileWork,
    records: MutableMapping[str, TileRecord],
    talk: Talk,
) -> dict[str, str]:
    """Do the tiles that ``records`` lacks, and add theirs; returns why some could not be done."""
    reporter, tiles = talk.reporter, work.tiles
    by_name = {tile.name: tile for tile in tiles}
    lost: dict[str, str] = {}
    waiting = [tile for tile in tiles if tile.name not in records]
    done = sum(_pixels(tile) for tile in tiles if tile.name in records)
    reporter.start(work.what, sum(map(_pixels, tiles)), done)

    def commit(found: Sequence[TileRecord]) -> None:
        job.journal.append(*found)
        for record in found:
            records[record.tile] = record
            reporter.advance(_pixels(by_name[record.tile]))

    def name(tile: Tile) -> str:
        return f"{work.subject}: {tile.place}"

    def lose(tile: Tile, cause: str) -> None:
        lost[tile.name] = cause
        reporter.note(f"{name(tile)}: left without data: {cause}")

    settings = work.settings
    trouble = Trouble(settings.tile_timeout, settings.keep_going, name, lose)
    try:
        run(client, work.task, waiting, commit, talk.stop, trouble)
    finally:
        reporter.finish()
    return lost


def timings(records: Mapping[str, TileRecord], started: float, labelled: float) -> dict[str, float]:
    """Seconds of a job by stage, for the ``run`` part of its report."""
    stages = ("read", "wait", "compute", "write")
    seconds = {s: sum(r.seconds.get(s, 0.0) for r in records.values()) for s in stages}
    return {
        **{f"tiles_{stage}_s": round(total, 3) for stage, total in seconds.items()},
        "labelling_s": round(labelled - started, 3),
        "writing_s": round(time.monotonic() - labelled, 3),
    }


def _pixels(tile: Tile) -> int:
    rows, cols = shape_of(tile.core)
    return rows * cols
