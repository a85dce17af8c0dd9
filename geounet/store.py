"""Where an unfinished job keeps what it has done: immutable tile objects and a journal.

A worker writes a tile object, named by tile and hash; the client alone appends the journal line
that commits it. After a crash the journal says what is done, and each object proves itself by its
SHA-256. Layout, under OUT/.geounet/:

    lock             held with flock by the running job
    journal.jsonl    first the fingerprint of the job, then a line per committed tile, each with a
                     checksum of its own
    name             of this job at a store that jobs share
    tiles/           NAME-HASH.tile: zlib-compressed safetensors of uint8 layers
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from geounet.atomic import free_at, sync, write_bytes
from geounet.errors import OutputError
from geounet.locations import shown
from geounet.objects import objects_at
from geounet.small_file import read_ours

Layers = dict[str, np.ndarray]
HIDDEN = "hidden"
"""Key of the pixels that a cloud mask removed, beside the class values."""


@dataclass(frozen=True)
class TileRecord:
    """What is known of a finished tile, small enough to send and to journal.

    ``sha256`` is empty for a tile without a valid pixel, which has no object. ``pixels`` and
    ``area_m2`` count each class value's valid pixels; ``hidden`` the same for pixels that a mask
    removed. ``confidence`` counts each class value's pixels by confidence, in steps of 5 %.
    ``seconds`` splits the time into read, compute and write.
    """

    tile: str
    sha256: str = ""
    pixels: Mapping[str, int] = field(default_factory=dict)
    area_m2: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.sha256


class TileStore:
    """Tile objects at a place that client and workers share: a folder, or an address."""

    def __init__(self, where: str | Path) -> None:
        self.where = str(where)
        self.objects = objects_at(self.where)

    def put(self, tile: str, layers: Layers) -> str:
        """Write an object once; returns the SHA-256 that names it."""
        # Sorted names and a fixed level: the same layers give the same bytes.
        data = zlib.compress(save(dict(sorted(layers.items()))), level=1)
        digest = hashlib.sha256(data).hexdigest()
        self.objects.put(_name(tile, digest), data)
        return digest

    def get(self, record: TileRecord) -> Layers:
        """The layers of a committed tile.

        Raises:
            OutputError: if the object is missing or its hash differs.
        """
        name = f"{shown(self.where)}/{_name(record.tile, record.sha256)}"
        try:
            data = self.objects.get(_name(record.tile, record.sha256))
        except OSError as error:
            raise OutputError(f"{name}: tile {record.tile} is gone; run with --resume") from error
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise OutputError(f"{name}: tile {record.tile} was damaged; run with --resume")
        try:
            return load(zlib.decompress(data))
        except (zlib.error, SafetensorError) as error:
            raise OutputError(f"{name}: not a tile object ({error})") from error

    def holds(self, record: TileRecord) -> bool:
        """True if a committed tile can be used as it lies."""
        if record.is_empty:
            return True
        try:
            data = self.objects.get(_name(record.tile, record.sha256))
        except OSError:
            return False
        return hashlib.sha256(data).hexdigest() == record.sha256


def _name(tile: str, digest: str) -> str:
    return f"{tile}-{digest[:16]}.tile"


class Journal:
    """Append-only JSON lines: the job's fingerprint, then its committed tiles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, fingerprint: Mapping[str, Any]) -> None:
        """Begin anew with this fingerprint."""
        write_bytes(self.path, _line({"fingerprint": fingerprint}))

    def append(self, *records: TileRecord) -> None:
        """Commit tiles: when this returns, their lines are on the disk."""
        lines = b"".join(_line(asdict(record)) for record in records)
        try:
            with self.path.open("ab", buffering=0) as file:
                if file.write(lines) != len(lines):
                    raise OSError("short write")
                os.fsync(file.fileno())
        except OSError as error:
            names = ", ".join(record.tile for record in records)
            raise OutputError(
                f"{self.path}: tile {names} could not be journalled "
                f"({error}; {free_at(self.path)}); free space, then run with --resume"
            ) from error

    def read(self) -> tuple[dict[str, Any] | None, dict[str, TileRecord]]:
        """The fingerprint, or None without a usable journal, and the committed tiles by name.

        A torn last line, which a crash can leave, counts as never written; so does all after it.
        """
        try:
            lines = read_ours(self.path).splitlines(keepends=True)
        except OSError:
            return None, {}
        entries = []
        for line in lines:
            entry = _parse(line)
            if entry is None:
                break
            entries.append(entry)
        if not entries or not isinstance(entries[0].get("fingerprint"), dict):
            return None, {}
        records = takewhile(bool, map(_record, entries[1:]))
        return entries[0]["fingerprint"], {r.tile: r for r in records if r is not None}

    def mend(self, fingerprint: Mapping[str, Any], records: list[TileRecord]) -> None:
        """Keep only these tiles: a torn line must not swallow the next one appended."""
        lines = [_line({"fingerprint": fingerprint}), *(_line(asdict(r)) for r in records)]
        write_bytes(self.path, b"".join(lines))
        sync(self.path.parent)


def _record(entry: Mapping[str, Any]) -> TileRecord | None:
    """A journal line as a record; None for one that we did not write."""
    kinds = {"tile": str, "sha256": str, "pixels": dict, "area_m2": dict}
    kinds |= {"confidence": dict, "seconds": dict}
    if entry.keys() != kinds.keys():
        return None
    if not all(isinstance(entry[name], kind) for name, kind in kinds.items()):
        return None
    return TileRecord(**entry)


def _line(entry: Mapping[str, Any]) -> bytes:
    return _text({**entry, "sum": _sum(entry)}) + b"\n"


def _text(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def _sum(entry: Mapping[str, Any]) -> str:
    """A tile object proves itself; this does it for the numbers of its line."""
    return hashlib.sha256(_text(entry)).hexdigest()[:16]


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.pop("sum", None) != _sum(entry):
        return None
    return entry
