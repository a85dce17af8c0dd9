"""A remote file as GDAL reads it: a file of Python's, whose bytes come in checked pieces.

GDAL's own reading over HTTP is not used. It gives zeros for pixels where a transfer breaks in its
threads (OSGeo/gdal#11552, #12426), follows redirects into the user's own network, does not notice
that a file was replaced, and prints addresses with their signatures. Here a piece that cannot be
had is remembered, and whoever opened the file raises it, whatever GDAL made of it.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from threading import Lock

from geounet.locations import shown
from geounet.transfer import Access, Transfer, Version
from geounet.transfer_error import TransferError

PIECE = 64 * 1024
"""Bytes: files are kept and asked for in multiples of this."""
REQUEST = 4 * 2**20
"""Bytes at most of one request."""
KEPT = 48 * 2**20
"""Bytes of remote files that this process keeps: headers, and blocks that neighbours share."""


class _Pieces:
    """The pieces that were used last, by address, version and place."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, Version, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def find(self, file: str, version: Version, place: int) -> bytes | None:
        with self._lock:
            found = self._held.get((file, version, place))
            if found is not None:
                self._held.move_to_end((file, version, place))
            return found

    def keep(self, file: str, version: Version, place: int, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._held.pop((file, version, place), b""))
            self._held[file, version, place] = data
            while self._bytes > KEPT:
                self._bytes -= len(self._held.popitem(last=False)[1])

    def forget(self, file: str) -> None:
        with self._lock:
            for key in [key for key in self._held if key[0] == file]:
                self._bytes -= len(self._held.pop(key))


_pieces = _Pieces()
forget = _pieces.forget
"""Drop what is kept of the file at an address: what it holds could not be decoded."""


class RemoteFile:
    """The bytes at an address, all of one version; ``failure`` is why some could not be had.

    Args:
        file: a located address.
        access: how it may be read.
        version: the version to insist on; None takes the one that is there.
    """

    def __init__(self, file: str, access: Access, version: Version | None = None) -> None:
        self.file = file
        self.name = PurePosixPath(shown(file)).name or "file"
        self.version = version
        self.failure: TransferError | None = None
        self._transfer = Transfer(file, access)
        self._end_of_last = -1
        self._ahead = 0

    def opener(self) -> Callable[..., _Handle]:
        """What ``rasterio.open(self.name, opener=…)`` opens: this file, and nothing beside it."""

        def open_by_name(path: str, mode: str = "rb") -> _Handle:
            if PurePosixPath(path).name != self.name or "w" in mode or "+" in mode:
                raise FileNotFoundError(path)
            return _Handle(self)

        return open_by_name

    @property
    def size(self) -> int:
        """Bytes of the whole file; 0 where that cannot be learnt."""
        if self.version is None:
            self.read_at(0, 1)
        return self.version.size if self.version else 0

    def read_at(self, start: int, length: int) -> bytes:
        """Bytes of a part of the file; after a failure none, and the failure is kept.

        Called by GDAL, which no exception may cross.
        """
        if self.failure is not None:
            return b""
        try:
            return self._read(start, length)
        except TransferError as error:
            self.failure = error
        except Exception as error:
            self.failure = TransferError(
                f"cannot be read ({type(error).__name__})", "please report this as a bug"
            )
        return b""

    def _read(self, start: int, length: int) -> bytes:
        if self.version is None:
            self._fetch(0, 1)
        stop = min(start + length, self.version.size if self.version else 0)
        if stop <= start:
            return b""
        places = range(start // PIECE, -(-stop // PIECE))
        found = {place: self._kept(place) for place in places}
        for first, last in _runs([place for place in places if found[place] is None]):
            found |= self._fetch(first, last)
        data = b"".join(found[place] or b"" for place in places)
        offset = start - places.start * PIECE
        return data[offset : offset + stop - start]

    def _kept(self, place: int) -> bytes | None:
        return _pieces.find(self.file, self.version, place) if self.version else None

    def _fetch(self, first: int, last: int) -> dict[int, bytes]:
        """Pieces ``first`` to before ``last``, and more where the file is read in a row."""
        self._ahead = min(2 * self._ahead + 1, 31) if first == self._end_of_last else 0
        last = min(last + self._ahead, first + max(last - first, REQUEST // PIECE))
        last = min(last, -(-self.version.size // PIECE)) if self.version else last
        self._end_of_last = last
        data, version = self._transfer.piece(first * PIECE, last * PIECE)
        if version != (self.version or version):
            raise TransferError(
                "the file was replaced by another while it was read",
                "run the command again from the start, without --resume, once the file is final",
            )
        self.version = version
        pieces = {
            first + k: data[k * PIECE : (k + 1) * PIECE] for k in range(-(-len(data) // PIECE))
        }
        for place, piece in pieces.items():
            _pieces.keep(self.file, version, place, piece)
        return pieces


def _runs(places: list[int]) -> list[tuple[int, int]]:
    """Numbers that follow each other as ``(first, last + 1)``, cut to one request each."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place and place - runs[-1][0] < REQUEST // PIECE:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


class _Handle(io.RawIOBase):
    """One reader's place in the file."""

    def __init__(self, source: RemoteFile) -> None:
        super().__init__()
        self._source = source
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence)
        self._place = offset + (self._source.size if origin is None else origin)
        return self._place

    def read(self, size: int = -1) -> bytes:
        length = max(0, self._source.size - self._place) if size < 0 else size
        data = self._source.read_at(self._place, length)
        self._place += len(data)
        return data
