"""Where a file lies: a local path, or an https:// or s3:// address; nothing else is opened.

A name such as ``s3:foo.tif`` or ``/vsicurl/…`` would make GDAL reach for the network or into an
archive. Local names are therefore always made absolute before GDAL sees them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from geounet.errors import InputError

REMOTE = ("https://", "s3://")


def is_remote(file: str) -> bool:
    """True for the addresses that we open over the network."""
    return file.startswith(REMOTE)


def locate(source: str | Path, base: Path | None = None) -> str:
    """An absolute path, or the address itself; relative names start at ``base``.

    Raises:
        InputError: for other schemes, and for GDAL's virtual file names.
    """
    text = str(source)
    if "\0" in text or "\n" in text:
        raise InputError(f"{text!r}: is no file name; it holds a line break or a zero byte")
    if is_remote(text):
        _check_host(text)
        return text
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if scheme or text.startswith("/vsi"):
        raise InputError(
            f"{shown(text)}: only local files, https:// and s3:// are opened; "
            f"download it first, or give its https:// address"
        )
    path = (base / text if base else Path(text)).expanduser().resolve()
    if str(path).startswith("/vsi"):
        raise InputError(f"{path}: names that start with /vsi are GDAL's own; rename the folder")
    return str(path)


def _check_host(address: str) -> None:
    """An address in a file from outside must not reach into the user's own network."""
    host = urlsplit(address).hostname or ""
    try:
        outside = ip_address(host).is_global
    except ValueError:
        outside = "." in host or address.startswith("s3://")
    if not host or not outside:
        raise InputError(
            f"{shown(address)}: is an address inside this machine or network, which is not opened; "
            f"download the file first"
        )


def local_path(file: str) -> Path:
    """The path of a located local file."""
    return Path(file)


def vsi_path(file: str) -> str:
    """The name that GDAL opens for a located file."""
    if file.startswith("https://"):
        return f"/vsicurl/{file}"
    if file.startswith("s3://"):
        return f"/vsis3/{file.removeprefix('s3://')}"
    return file


def shown(file: str) -> str:
    """The file for messages and reports: no query string, no user or password."""
    if "://" not in file:
        return file
    parts = urlsplit(file)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
