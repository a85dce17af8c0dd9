"""One GET over http or https, made only to machines that are allowed, in bounded time.

The address that was checked is the one that is connected to, so that no name can point elsewhere
between the two. Redirects are not followed here: each is a new request, checked like the first.
"""

from __future__ import annotations

import atexit
import base64
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Lock, Timer
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from geounet.locations import is_outside
from geounet.transfer_error import TransferError

CONNECT = 10.0
"""Seconds to wait for a connection to one machine."""
KEPT = 8
"""Idle connections kept for each server."""
_AS_WRITTEN = "%/:@!$&'()*+,;=~"


@dataclass(frozen=True)
class Answer:
    """What a server said: ``body`` is cut off where it is longer than was asked for."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True)
class _Server:
    """Where a connection ends, and whether it may lie inside the user's own network."""

    scheme: str
    host: str
    port: int
    allow_private: bool
    # A connection must not be shared with a process that was forked meanwhile.
    process: int

    @classmethod
    def of(cls, parts: SplitResult, allow_private: bool) -> _Server:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        return cls(parts.scheme, parts.hostname or "", port, allow_private, os.getpid())


_idle: dict[_Server, list[HTTPConnection]] = {}
_lock = Lock()


def get(
    url: str, headers: Mapping[str, str], most: int, seconds: float, *, allow_private: bool
) -> Answer:
    """The answer to a GET; of its body at most ``most`` bytes are read, within ``seconds``.

    Raises:
        TransferError: if the server cannot be reached, may not be, or breaks off or stalls.
    """
    try:
        parts = urlsplit(url)
        server = _Server.of(parts, allow_private)
    except (ValueError, KeyError):
        raise TransferError("is no valid address", "check how it is written") from None
    target = quote(parts.path or "/", safe=_AS_WRITTEN)
    target += f"?{quote(parts.query, safe=_AS_WRITTEN + '?')}" if parts.query else ""
    with _failures_named(server.host):
        kept = _take(server)
        if kept is not None:
            # A server may close what lies idle at any time: that is no failure.
            with suppress(ConnectionError, HTTPException):
                return _ask(kept, server, target, headers, most, seconds)
        return _ask(_connection(server), server, target, headers, most, seconds)


def _ask(
    connection: HTTPConnection,
    server: _Server,
    target: str,
    headers: Mapping[str, str],
    most: int,
    seconds: float,
) -> Answer:
    limit = _TimeLimit(connection)
    whole = False
    try:
        with limit.of(seconds):
            connection.request("GET", target, headers=dict(headers))
            limit.held = connection.sock
            with connection.getresponse() as response:
                body = response.read(most)
                whole = response.isclosed()
    finally:
        if not whole:
            connection.close()
    _keep(server, connection)
    return Answer(response.status, response.headers, body)


class _TimeLimit:
    """Cuts a connection off after some seconds, whatever it is waiting for.

    A timeout of the socket alone bounds only the wait for the next byte, and a server that drips
    can make many of those. ``held`` is the socket where the connection has let go of it, as it
    does when the server says that it will close.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._late = False
        self.held: socket.socket | None = None

    def _cut(self) -> None:
        self._late = True
        open_socket = self.held or self._connection.sock
        if open_socket is not None:
            with suppress(OSError):
                # Not SSLSocket's own method, which takes the session from under the reader's feet.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        timer = Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, HTTPException, ValueError) as error:
            if not self._late:
                raise
            raise TimeoutError from error
        finally:
            timer.cancel()
        if self._late:
            raise TimeoutError


@contextmanager
def _failures_named(host: str) -> Iterator[None]:
    """Failures of the network as TransferError; none of their texts can hold the address."""
    try:
        yield
    except TimeoutError:
        raise TransferError("the server does not answer in time", "", again=True) from None
    except ssl.SSLCertVerificationError as error:
        raise TransferError(
            f"the certificate of {host} is not trusted ({error.verify_message})",
            "set SSL_CERT_FILE to a PEM file with your own authority if it is signed by one",
        ) from None
    except socket.gaierror as error:
        raise TransferError(
            f"the name {host} cannot be looked up ({error.strerror})",
            "check the address and the network",
            again=error.errno == socket.EAI_AGAIN,
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise TransferError(f"the connection broke off ({said})", "", again=True) from None


def _take(server: _Server) -> HTTPConnection | None:
    with _lock:
        kept = _idle.get(server)
        return kept.pop() if kept else None


def _keep(server: _Server, connection: HTTPConnection) -> None:
    with _lock:
        kept = _idle.setdefault(server, [])
        if connection.sock is not None and len(kept) < KEPT:
            kept.append(connection)
            return
    connection.close()


@atexit.register
def close_idle() -> None:
    """Close the connections that wait for the next request."""
    with _lock:
        for connections in _idle.values():
            for connection in connections:
                connection.close()
        _idle.clear()


def _connection(server: _Server) -> HTTPConnection:
    """A connection, through the proxy that the environment names if it names one."""
    proxy = getproxies().get(server.scheme)
    if proxy and server.scheme == "https" and not proxy_bypass(server.host):
        return _tunnel(server, proxy)
    kind = _Checked if server.scheme == "http" else _CheckedTls
    return kind(server.host, server.port, allow_private=server.allow_private)


def _tunnel(server: _Server, proxy: str) -> HTTPConnection:
    """Through a proxy, which looks names up itself: what we can look up is checked all the same."""
    with suppress(socket.gaierror):
        _allowed(server.host, server.port, server.allow_private)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    secret = {}
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret["Proxy-Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    connection = HTTPSConnection(
        parts.hostname or "", parts.port or 8080, timeout=CONNECT, context=trusted()
    )
    connection.set_tunnel(server.host, server.port, headers=secret)
    return connection


class _Checked(HTTPConnection):
    """Connects only where it may."""

    def __init__(self, host: str, port: int, *, allow_private: bool) -> None:
        super().__init__(host, port, timeout=CONNECT)
        self._allow_private = allow_private

    def connect(self) -> None:
        self.sock = _dial(self.host, self.port, self._allow_private)


class _CheckedTls(_Checked):
    """The same, encrypted, and sure of the server's name."""

    def connect(self) -> None:
        super().connect()
        self.sock = trusted().wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        # Only now, so that the time limit reaches a handshake that drips.
        self.sock.do_handshake()


@cache
def trusted() -> ssl.SSLContext:
    """The system's authorities, certifi's, and the user's own."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    own = os.environ.get("SSL_CERT_FILE") or os.environ.get("CURL_CA_BUNDLE")
    if own:
        try:
            context.load_verify_locations(own)
        except OSError as error:
            raise TransferError(
                f"SSL_CERT_FILE {own} cannot be used ({error.strerror or type(error).__name__})",
                "name a PEM file with certificates, or unset it",
            ) from None
    return context


def _dial(host: str, port: int, allow_private: bool) -> socket.socket:
    failure: OSError = ConnectionRefusedError()
    for family, kind, protocol, place in _allowed(host, port, allow_private):
        candidate = socket.socket(family, kind, protocol)
        candidate.settimeout(CONNECT)
        try:
            candidate.connect(place)
        except OSError as error:
            candidate.close()
            failure = error
        else:
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return candidate
    raise failure


def _allowed(
    host: str, port: int, allow_private: bool
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, tuple]]:
    """All that a name stands for; if any of it lies inside, nothing of it is opened."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not allow_private and not all(is_outside(str(place[0])) for *_, place in found):
        raise TransferError(
            f"{host} is an address inside this machine or network, which is not opened",
            "download the file first, or give --allow-private if you trust where the address is "
            "from",
        )
    return [(family, kind, protocol, place) for family, kind, protocol, _, place in found]
