"""Commands that are run in processes of their own, and killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.test_segment import outputs


def start(job: list[str], out: Path, *flags: str) -> subprocess.Popen:
    """Begin a command in which ``{out}`` stands for the folder."""
    command = [part.format(out=out) for part in job] + list(flags)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finished(job: list[str], out: Path, *flags: str) -> tuple[dict[str, bytes], float]:
    """The outputs of a command that runs to its end, and its seconds."""
    began = time.monotonic()
    process = start(job, out, *flags)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return outputs(out), time.monotonic() - began


def assert_resumes(
    job: list[str], folder: Path, whole: tuple[dict[str, bytes], float], earliest: float, kills: int
) -> None:
    """Kill the job after drawn shares of its time, from ``earliest``, and resume it each time.

    What has its final name is complete even then, and the end is the bytes of ``whole``.
    """
    expected, seconds = whole
    draw = random.Random(7)
    for kill in range(kills):
        out = folder / f"out{kill}"
        process = start(job, out)
        time.sleep(draw.uniform(earliest, 1.0) * seconds)
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if out.exists() and killed:
            named = {p.name for p in out.iterdir() if p.is_file() and not p.name.startswith(".")}
            for name in named & expected.keys() - {"report.json", "report.html"}:
                assert (out / name).read_bytes() == expected[name], name
            if "report.html" in named:
                assert (out / "report.html").read_bytes().endswith(b"</html>\n")
        assert finished(job, out, "--resume")[0] == expected
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
