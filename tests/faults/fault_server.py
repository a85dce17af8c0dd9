"""A web server that breaks on purpose. The first part of a path says how: ``/drop/scene.tif``.

A number after a mode, as in ``/503-2/scene.tif``, is how many requests break before it recovers;
one before it, as in ``/2-drop/scene.tif``, how many are answered well before it breaks. Without
either it is broken from the start and for ever. ``requests`` lists what was asked for.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FaultServer(ThreadingHTTPServer):
    """Serves the files of a folder; ``address("drop", "a.tif")`` is where one breaks."""

    daemon_threads = True
    request_queue_size = 64
    scheme = "http"

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            self.scheme, self.socket = "https", tls.wrap_socket(self.socket, server_side=True)
        self.folder = folder
        self.requests: list[str] = []
        self.seen: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.elsewhere = "http://169.254.169.254/latest/meta-data/"
        self.tag = '"1"'
        self.lock = threading.Lock()

    def address(self, mode: str, name: str, user: str = "") -> str:
        return f"{self.scheme}://{user}127.0.0.1:{self.server_port}/{mode}/{name}"

    def handle_error(self, request, client_address):
        """Silent: clients that hang up are what is tested."""

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        mode, _, name = self.path.partition("?")[0].lstrip("/").partition("/")
        with self.server.lock:
            self.server.requests.append(self.path)
            self.server.headers.append(dict(self.headers))
            self.server.seen[mode] += 1
            turn = self.server.seen[mode]
        well, kind, broken = re.fullmatch(r"(?:(\d+)-)?(\w+?)(?:-(\d+))?", mode).groups()
        if turn <= int(well or 0) or (broken and turn > int(broken)):
            kind = "ok"
        with contextlib.suppress(ConnectionError):
            self._answer(kind, turn, name)

    def _answer(self, kind, turn, name):
        content = (self.server.folder / name).read_bytes()
        plain = {
            "503": lambda: self._error(503),
            "half503": lambda: self._error(503) if turn % 2 else self._part(content),
            "429": lambda: self._error(429, {"Retry-After": "1"}),
            "429long": lambda: self._error(429, {"Retry-After": "900"}),
            "404": lambda: self._error(404),
            "403": lambda: self._error(403, body=b"<Error><Code>AccessDenied</Code></Error>"),
            "drop": self._hang_up,
            "halfdrop": lambda: self._hang_up() if turn % 2 else self._part(content),
            "cut": lambda: self._part(content, sent=0.5),
            "halfcut": lambda: self._part(content, sent=0.5 if turn % 2 else 1),
            "hang": lambda: time.sleep(30),
            "drip": lambda: self._part(content, drip=0.05),
            "closingdrip": lambda: self._part(content, drip=0.05, close=True),
            "garbage": lambda: self._part(bytes(b ^ 0x5A for b in content)),
            "norange": lambda: self._send(200, content, {}),
            "redirect": lambda: self._error(302, {"Location": f"/ok/{name}?sig=CANARY-SECRET"}),
            "expiring": lambda: self._expiring(name),
            "loop": lambda: self._error(302, {"Location": f"/loop/{name}"}),
            "other": lambda: self._part(content, shift=7),
            "truncate": lambda: self._part(content[: int(len(content) * 0.6)]),
            "swap": lambda: self._part(content[::-1], tag='"2"'),
            "moved": lambda: self._error(302, {"Location": f"{self.server.elsewhere}{name}"}),
            "ok": lambda: self._part(content),
        }
        plain[kind]()

    def _expiring(self, name):
        """A redirect to a place that answers once."""
        self.server.seen["1-403"] = 0
        self._error(302, {"Location": f"/1-403/{name}"})

    def _hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, status, headers=None, body=b""):
        self._send(status, body, headers or {})

    def _send(self, status, body, headers):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _part(self, content, *, sent=1.0, drip=0.0, shift=0, tag="", close=False):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, last = int(asked[1]) + shift, min(int(asked[2]) + shift, len(content) - 1)
        body = content[start : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", tag or self.server.tag)
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        if drip:
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                time.sleep(drip)
        self.wfile.write(b"" if drip else body[: int(len(body) * sent)])
        if sent < 1:
            self._hang_up()
