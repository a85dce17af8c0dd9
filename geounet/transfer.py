"""One piece of a remote file: exactly the bytes that were asked for, of the version that is known.

What a server sends counts only if it is the range that was asked for, in full, of a file of the
same size and tag as before. Everything else is tried again, or ends in a TransferError: a transfer
that was cut can never pass for pixels.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote, urljoin, urlsplit

from geounet import s3
from geounet.connections import Answer, get
from geounet.errors import InputError
from geounet.locations import is_remote, locate, shown
from geounet.refusals import refusal
from geounet.retries import with_deadline
from geounet.transfer_error import TransferError

REDIRECTS = 5
REDIRECTING = (301, 302, 303, 307, 308)
_RANGE = r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})"
"""Python refuses to make a number of thousands of digits."""
STALL, SLOWEST = 20.0, 10_000
"""One try may take STALL seconds, and one more for each SLOWEST bytes."""


@dataclass(frozen=True)
class Access:
    """How addresses may be read.

    ``deadline`` is how many seconds one piece may take, retries included; ``allow_private`` opens
    addresses inside this machine or network.
    """

    allow_private: bool = False
    deadline: float = 120.0


USUAL = Access()


@dataclass(frozen=True)
class Version:
    """Which state of a file a server holds: its bytes, and its ETag or date of change, or ""."""

    size: int
    tag: str


@dataclass
class Transfer:
    """Pieces of the file at one address. Where a redirect led is remembered until it fails."""

    file: str
    access: Access
    _led_to: str = field(default="", repr=False)

    def piece(self, start: int, stop: int) -> tuple[bytes, Version]:
        """The bytes from ``start`` to before ``stop``, or to the file's end; and its version.

        Raises:
            TransferError: if they cannot be had by the deadline.
        """
        attempt = partial(self._attempt, start, stop)
        return with_deadline(attempt, self.access.deadline)

    def _attempt(self, start: int, stop: int, left: float) -> tuple[bytes, Version]:
        wanted, remembered = stop - start, bool(self._led_to)
        seconds = min(left, STALL + wanted / SLOWEST)
        try:
            answer = self._ask({"Range": f"bytes={start}-{stop - 1}"}, wanted, seconds)
            return _checked(self.file, answer, start, stop)
        except TransferError as error:
            self._led_to = ""
            # Where a redirect led may be signed for minutes: it is asked for once more.
            error.again |= remembered
            raise

    def _ask(self, headers: dict[str, str], most: int, seconds: float) -> Answer:
        request = _request(self.file, headers, self.access.allow_private)
        plain = headers | {"Accept-Encoding": "identity", "User-Agent": "geounet"}
        url, end = self._led_to or request.url, time.monotonic() + seconds
        for _ in range(REDIRECTS + 1):
            secret = request.secret if _place(url) == _place(request.url) else {}
            private = request.allow_private
            left = max(0.01, end - time.monotonic())
            answer = get(url, plain | secret, max(most, 4096), left, allow_private=private)
            led_to = answer.headers.get("Location")
            if answer.status not in REDIRECTING or not led_to or self.file.startswith("s3://"):
                return answer
            url = self._led_to = redirected(url, led_to, self.access.allow_private)
        raise TransferError(
            f"is redirected more than {REDIRECTS} times", "give the address where it ends"
        )


@dataclass(frozen=True)
class _Request:
    """A URL without user and password, the headers that prove who asks, what may be reached."""

    url: str
    secret: dict[str, str]
    allow_private: bool


def _request(file: str, headers: Mapping[str, str], allow_private: bool) -> _Request:
    if file.startswith("s3://"):
        own = bool(s3.own_endpoint())
        return _Request(s3.url_of(file), s3.signature(file, headers), allow_private or own)
    parts = urlsplit(file)
    place = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=place, fragment="").geturl()
    if parts.username is None:
        return _Request(url, {}, allow_private)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    secret = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    return _Request(url, secret, allow_private)


def _place(url: str) -> tuple[str, str]:
    """A secret is sent only where it belongs."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def redirected(url: str, led_to: str, allow_private: bool) -> str:
    """Where a redirect leads, if an address given by hand might lead there too."""
    target = led_to
    # What is no address at all is a ValueError.
    with suppress(InputError, ValueError):
        target = urljoin(url, led_to)
        if is_remote(target) and not target.startswith("s3://"):
            return locate(target, allow_private=allow_private)
    raise TransferError(
        f"is redirected to {shown(target)[:200]}, which is not opened",
        "give the https:// address of the file itself, or --allow-private if you trust the server",
    )


def _checked(file: str, answer: Answer, start: int, stop: int) -> tuple[bytes, Version]:
    if answer.status != 206:
        raise refusal(file, answer, start)
    headers = answer.headers
    found = re.fullmatch(_RANGE, headers.get("Content-Range", "").strip())
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if not found or encoding not in ("", "identity"):
        raise TransferError(
            "the server does not say which part of the file it sends",
            "download the file first, or put it on a server that answers to Range",
        )
    first, last, size = (int(n) for n in found.groups())
    end = min(stop, size)
    if (first, last + 1) != (start, end):
        raise TransferError("the server sends another part than was asked for", "", again=True)
    body = answer.body[: end - start]
    if len(body) != end - start:
        raise TransferError(
            f"the transfer was cut after {len(body):,} of {end - start:,} bytes", "", again=True
        )
    return body, Version(size, headers.get("ETag") or headers.get("Last-Modified") or "")
