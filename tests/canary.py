"""A web server on this machine that nobody must ask for anything."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


class _Silent(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(f"{self.command} {self.path}")
        self.send_error(404)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (the names of http.server)

    def log_message(self, *args):
        pass


@contextmanager
def listening():
    """The server, whose ``seen`` lists what it was asked for."""
    server = HTTPServer(("127.0.0.1", 0), _Silent)
    server.seen = []
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
