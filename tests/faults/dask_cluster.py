"""A Dask scheduler and workers as somebody else would start them: each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 90


@dataclass
class DaskCluster:
    """Processes of `dask scheduler` and `dask worker`; ``folder`` holds what they write."""

    folder: Path
    tls: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    scheduler: subprocess.Popen | None = None
    workers: list[subprocess.Popen] = field(default_factory=list)

    def __enter__(self) -> DaskCluster:
        self.scheduler = self._start("scheduler", "--port", "0")
        deadline = time.monotonic() + SECONDS
        while not self._contact.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    @property
    def address(self) -> str:
        return json.loads(self._contact.read_text())["address"]

    def add_worker(self, *flags: str, threads: int = 3) -> subprocess.Popen:
        """A worker with a nanny, in a working directory of its own."""
        place = self.folder / f"worker{len(self.workers)}"
        place.mkdir()
        worker = self._start("worker", "--nthreads", str(threads), *flags, cwd=place)
        self.workers.append(worker)
        return worker

    @property
    def _contact(self) -> Path:
        return self.folder / "scheduler.json"

    def _start(self, kind: str, *flags: str, cwd: Path | None = None) -> subprocess.Popen:
        secure = [part for name, file in self.tls.items() for part in (f"--tls-{name}", file)]
        protocol = ["--protocol", "tls"] if self.tls else []
        command = [
            *(sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", "--no-dashboard"),
            *("--scheduler-file", str(self._contact), *protocol, *secure, *flags),
        ]
        with (self.folder / f"{kind}{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
                cwd=cwd or self.folder,
                start_new_session=True,
            )


def self_signed(folder: Path) -> dict[str, str]:
    """A certificate of its own authority, by openssl: ca, cert and key as PEM files."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    return {"ca-file": str(cert), "cert": str(cert), "key": str(key)}
