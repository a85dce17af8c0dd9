"""Where a file lies: a local path, or an https:// or s3:// address; nothing else is opened.

A name such as ``s3:foo.tif`` or ``/vsicurl/…`` would make GDAL reach for the network or into an
archive. Local names are therefore always made absolute before GDAL sees them, and addresses are
never given to it: remote_file.py reads them.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from geounet.errors import InputError

REMOTE = ("https://", "http://", "s3://")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NAT64 = IPv6Network("64:ff9b::/96")


def is_remote(file: str) -> bool:
    """True for the addresses that we open over the network."""
    return file.startswith(REMOTE)


def locate(source: str | Path, base: Path | None = None, allow_private: bool = False) -> str:
    """An absolute path, or the address itself; relative names start at ``base``.

    ``allow_private`` lets addresses inside this machine or network pass, and http:// to this
    machine itself. Names are looked up only when a connection is made (connections.py).

    Raises:
        InputError: for other schemes, and for GDAL's virtual file names.
    """
    text = str(source)
    if not _is_utf8(text):
        raise InputError(
            f"{shown(ascii(text)[1:-1])}: its name is no UTF-8 here, so no output can name it; "
            "rename it, or set a locale such as C.UTF-8"
        )
    if "\0" in text or "\n" in text:
        raise InputError(f"{shown(text)!r}: is no file name; it holds a line break or a zero byte")
    if text.startswith("http://") and allow_private and _is_this_machine(text):
        return text
    if text.startswith(("https://", "s3://")):
        _check_host(text, allow_private)
        return text
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|(https?|s3):/", text)
    if scheme or text.startswith("/vsi"):
        raise InputError(
            f"{shown(text)}: only local files, https:// and s3:// are opened; "
            f"download it first, or give its https:// address"
        )
    path = (base / text if base else Path(text)).expanduser().resolve()
    if str(path).startswith("/vsi"):
        raise InputError(f"{path}: names that start with /vsi are GDAL's own; rename the folder")
    return str(path)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_host(address: str, allow_private: bool) -> None:
    """An address in a file from outside must not reach into the user's own network."""
    host = _host(address)
    try:
        outside = is_outside(host)
    except ValueError:
        outside = "." in host or address.startswith("s3://")
    if not host or not (outside or allow_private):
        raise InputError(
            f"{shown(address)}: is an address inside this machine or network, which is not opened; "
            f"download the file first, or give --allow-private if you trust where the address is "
            f"from"
        )


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_this_machine(address: str) -> bool:
    host = _host(address)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_outside(address: str) -> bool:
    """True for an IP address that anyone on the internet can reach.

    IPv4 addresses that an IPv6 address carries are looked at in its stead.

    Raises:
        ValueError: if it is no IP address.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = _carried(found) or found
    return found.is_global and not found.is_multicast


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def local_path(file: str) -> Path:
    """The path of a located local file."""
    return Path(file)


def shown(file: str) -> str:
    """The file for messages and reports: no query string, no user or password."""
    # One slash is a slip of whoever meant two; what follows may hold a password all the same.
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/(/?)", file)
    if not found or not (found[2] or f"{found[1].lower()}://" in REMOTE):
        return file
    scheme, rest = found[1], file[found.end() :]
    # Taken apart by hand, as urlsplit refuses some addresses, and a refusal shows them too.
    rest = _without_password(rest.lstrip("/"))
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _without_password(rest: str) -> str:
    """Without a user and password, also where their ``/``, ``?`` or ``#`` was not escaped."""
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    _, colon, port = place.partition(":")
    whole = "@" in place or not colon or port.isdigit()
    return rest if whole else rest.rpartition("@")[2]


def redacted(text: str) -> str:
    """A text without the query strings, users and passwords of the addresses that it holds.

    The last guard before a screen: whoever writes a message already uses ``shown``. What would move
    a terminal's cursor or colour it is written out.
    """
    plain = re.sub(r"[A-Za-z0-9+.-]+:/+[^\s'\"<>]+", lambda found: shown(found[0]), text)
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], plain)


def one_line(text: str) -> str:
    """A text as a message shows it."""
    return redacted(" ".join(text.split()))
