"""Opens raster files, local and remote, with one driver and settings that hide no failure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geounet.errors import InputError
from geounet.locations import is_remote, locate, shown
from geounet.remote_file import RemoteFile, forget
from geounet.retries import repeated
from geounet.transfer import USUAL, Access, Version

Result = TypeVar("Result")

GDAL_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
"""What a call into GDAL raises: some of its errors reach us unwrapped."""

READ_SETTINGS = {
    # In GDAL's own threads failed reads are lost (OSGeo/gdal#11552, #12426), and remote files
    # cannot be read there: the parallelism is ours.
    "GDAL_NUM_THREADS": "1",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_PAM_ENABLED": "YES",
}
REMOTE_SETTINGS = READ_SETTINGS | {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
LOCAL_PAUSES = (0.1,)
"""Seconds before a failed read is tried again: a network disk may have had a moment's trouble."""
REMOTE_PAUSES = (0.5, 1.0)
"""The same for bytes that came whole and cannot be decoded; see transfer.py for all else."""


@contextmanager
def open_raster(
    file: str,
    driver: str,
    access: Access = USUAL,
    version: Version | None = None,
    where: str = "",
) -> Iterator[tuple[DatasetReader, Version | None]]:
    """The file opened with one driver and our settings, for as long as the block lasts.

    Yields:
        The file, and which version of it an address holds.

    Args:
        file: a located path or address.
        driver: GDAL's, the only one that is tried.
        access: how an address may be read.
        version: the state of a remote file to insist on.
        where: what is read in the block, for messages.

    Raises:
        InputError: if GDAL cannot open it; the message has GDAL's own cause. Where a remote file
            could not be read in full, however the block ends.
    """
    _ignore_unplaced()
    if not is_remote(file):
        with rasterio.Env(**READ_SETTINGS), _opened(file, driver) as data:
            yield data, None
        return
    with (
        rasterio.Env(**REMOTE_SETTINGS),
        _remote(file, access, version, where) as source,
        _opened(file, driver, source) as data,
    ):
        yield data, source.version


@contextmanager
def _remote(file: str, access: Access, version: Version | None, where: str) -> Iterator[RemoteFile]:
    """The bytes of an address; a failure to read them replaces whatever the block raises."""
    locate(file, allow_private=access.allow_private)
    source = RemoteFile(file, access, version)
    try:
        yield source
    finally:
        if source.failure is not None:
            raise InputError(
                f"{shown(file)}: {where + ' ' if where else ''}cannot be read: "
                f"{source.failure.cause}; {source.failure.remedy}"
            ) from None


def _opened(file: str, driver: str, source: RemoteFile | None = None) -> DatasetReader:
    def attempt() -> DatasetReader:
        if source is None:
            # In full: GDAL takes a name such as s3:scene.tif for an address.
            return rasterio.open(Path(file).absolute(), driver=driver, sharing=False)
        try:
            return rasterio.open(source.name, driver=driver, sharing=False, opener=source.opener())
        except GDAL_ERRORS:
            if source.failure is not None:
                # Bytes that cannot be had are not asked for again here.
                raise source.failure from None
            raise

    try:
        return repeated_read(file, attempt)
    except GDAL_ERRORS as error:
        raise InputError(
            f"{shown(file)}: cannot be opened as {driver}: {cause_of(error)}; "
            f"is it complete? `gdalinfo` on it says more"
        ) from error


def repeated_read(file: str, attempt: Callable[[], Result]) -> Result:
    """What a read with GDAL gives, tried again after short pauses with nothing kept of the file.

    Raises:
        Exception: one of GDAL_ERRORS, of the last try; and at once whatever is none of them.
    """
    if is_remote(file):
        return repeated(attempt, REMOTE_PAUSES, GDAL_ERRORS, partial(forget, file))
    return repeated(attempt, LOCAL_PAUSES, GDAL_ERRORS)


def _ignore_unplaced() -> None:
    """Keep NotGeoreferencedWarning quiet: `_grid` refuses such files, or they are wanted.

    Not with ``catch_warnings``, which swaps a list of filters that all threads share.
    """
    ours = ("ignore", None, NotGeoreferencedWarning, None, 0)
    if warnings.filters[:1] != [ours]:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)


def cause_of(error: BaseException) -> str:
    """What GDAL said at the root of an exception, on one line.

    rasterio's outer message ("Read failed. See previous exception for details.") names nothing.
    """
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    said = re.sub(r"/vsiriopener_[0-9a-f]+/", "", str(root))
    text = " ".join(said.split()) or type(root).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
