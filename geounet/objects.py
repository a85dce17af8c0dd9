"""Where immutable objects are kept: a folder, or a prefix in an object store such as s3://.

An object is there whole or not at all: a folder gets it by a rename, an object store by one
request, after which its size is asked for. What is read is checked by whoever wrote it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from geounet.atomic import write_bytes
from geounet.errors import OutputError, SettingsError
from geounet.locations import redacted, shown
from geounet.s3 import endpoint_url
from geounet.small_file import read_ours


class Objects(Protocol):
    """Bytes by name."""

    def put(self, name: str, data: bytes) -> None:
        """Keep an object.

        Raises:
            OutputError: naming it, if it cannot be kept.
        """

    def get(self, name: str) -> bytes:
        """An object.

        Raises:
            OSError: if it is not there or cannot be read.
        """

    def begin(self) -> None:
        """Be there, and hold nothing."""

    def remove(self) -> None:
        """Remove all objects."""


def objects_at(where: str) -> Objects:
    """The objects in a folder or at an address.

    Raises:
        SettingsError: if the package is missing that an address needs.
    """
    return _Remote(where) if "://" in where else _Folder(Path(where))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        write_bytes(self._folder / name, data)

    def get(self, name: str) -> bytes:
        return read_ours(self._folder / name)

    def begin(self) -> None:
        self.remove()
        self._folder.mkdir(parents=True)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        # At a place that jobs share it has a folder for itself; OUT/.geounet is never empty here.
        with suppress(OSError):
            self._folder.parent.rmdir()


class _Remote:
    """Through fsspec, which speaks with most object stores."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._files = _filesystem(address)

    def put(self, name: str, data: bytes) -> None:
        path = f"{self._address}/{name}"
        with _telling(path):
            self._files.pipe_file(path, data)
            size = self._files.info(path, refresh=True)["size"]
        if size != len(data):
            raise OutputError(
                f"{shown(path)}: {size} of {len(data)} bytes arrived; run with --resume"
            )

    def get(self, name: str) -> bytes:
        return bytes(self._files.cat_file(f"{self._address}/{name}"))

    def begin(self) -> None:
        self.remove()

    def remove(self) -> None:
        with _telling(self._address):
            if self._files.exists(self._address):
                self._files.rm(self._address, recursive=True)


@contextmanager
def _telling(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Each store has errors of its own.
        cause = " ".join(str(error).split()) or type(error).__name__
        raise OutputError(
            f"{shown(path)}: cannot be written ({cause}); check --store and the rights to write "
            "there, then run with --resume"
        ) from error


def _filesystem(address: str) -> Any:
    import fsspec.core

    own = endpoint_url() if address.startswith("s3://") else None
    options = {"endpoint_url": own} if own else {}
    try:
        return fsspec.core.url_to_fs(address, use_listings_cache=False, **options)[0]
    except Exception as error:
        # Each kind of store has errors of its own.
        raise SettingsError(
            f"--store {shown(address)}: cannot be used ({redacted(str(error))}); "
            "`pip install 'geounet[s3]'` has what s3:// needs"
        ) from error
