"""Jobs that are killed by SIGKILL at chosen moments, and what must hold then and after a resume."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.zygote import Child, Fate, Zygote

JOURNAL = Path(".geounet/journal.jsonl")
ANY = r"(open|os)\b.* {out}/.*"
"""Every file operation below the job's folder."""


@dataclass(frozen=True)
class KilledJob:
    """A command in which ``{out}`` stands for its folder, and an uninterrupted run of it.

    Attributes:
        tokens: of the command.
        files: the bytes that a folder holds at the end, or what stands for them.
        operations: how many of its own file operations were below its folder.
        outputs: reads ``files`` from a folder.
    """

    zygote: Zygote
    tokens: Sequence[str]
    files: dict[str, Any]
    operations: int
    outputs: Callable[[Path], dict[str, Any]]

    def start(self, out: Path, *flags: str, fate: Fate | None = None) -> Child:
        return self.zygote.start([*(t.format(out=out) for t in self.tokens), *flags], fate=fate)

    def killed_before(self, out: Path, number: int, pattern: str) -> bool:
        """Whether the job came to its n-th operation of that pattern, and was killed there."""
        child = self.start(out, fate=Fate(pattern.format(out=out), number))
        code = child.wait()
        assert code in (0, -9), child.errors
        return code == -9

    def count(self, pattern: str, folder: Path) -> int:
        """How many operations of that pattern there are in an uninterrupted run."""
        out, log = folder / "counted", folder / "count"
        assert self.start(out, fate=Fate(pattern.format(out=out), log=str(log))).wait() == 0
        return int(log.read_text())

    def measured(self, out: Path) -> float:
        """Seconds of CPU time of an uninterrupted run that finds its programs compiled."""
        child, cpu = self.start(out), 0.0
        while child.poll() is None:
            cpu = max(cpu, child.cpu)
            time.sleep(0.005)
        assert child.returncode == 0, child.errors
        return cpu

    def killed_after(self, out: Path, cpu: float) -> bool:
        """Whether the job came to that many seconds of CPU time, and was killed there."""
        child = self.start(out)
        while child.poll() is None and child.cpu < cpu:
            time.sleep(0.001)
        child.kill()
        assert child.wait() in (0, -9), child.errors
        return child.returncode == -9

    def assert_survives(self, moments: Sequence[float], folder: Path) -> int:
        """Kill it at each of these shares of its CPU time; returns how often it came to that."""
        places = [folder / str(k) for k in range(len(moments))]
        cpu = self.measured(folder / "measured")
        killed = [
            self.killed_after(out, share * cpu) for out, share in zip(places, moments, strict=True)
        ]
        for out, share in zip(places, moments, strict=True):
            self.assert_sound_and_resumes(out, share)
        return sum(killed)

    def assert_survives_operations(self, shares: Sequence[float], folder: Path) -> None:
        """Kill it before each of these shares of its own file operations."""
        for k, share in enumerate(shares):
            number = 1 + int(share * self.operations)
            self.killed_before(folder / str(k), number, ANY)
            self.assert_sound_and_resumes(folder / str(k), number)

    def assert_sound_and_resumes(self, out: Path, where: object) -> None:
        """What has its final name is complete, the journal reads, and a resume ends as ever."""
        self.assert_sound(out, where)
        self.assert_resumes(out, where)

    def assert_resumes(self, out: Path, where: object) -> None:
        """A resume ends as ever, and leaves nothing else."""
        child = self.start(out, "--resume")
        assert child.wait() == 0, (where, child.errors)
        assert self.outputs(out) == self.files, where
        assert not hidden(out), where

    def assert_sound(self, out: Path, where: object) -> None:
        """What has its final name is complete, and the journal reads."""
        if not out.exists():
            return
        named = {p.name for p in out.iterdir() if p.is_file() and not p.name.startswith(".")}
        assert named <= self.files.keys(), where
        for name in named:
            if isinstance(self.files[name], bytes) and name != "report.html":
                assert (out / name).read_bytes() == self.files[name], (where, name)
        if "report.json" in named:
            json.loads((out / "report.json").read_bytes())
        if "report.html" in named:
            assert (out / "report.html").read_bytes().endswith(b"</html>\n"), where
        journalled(out)


def whole(
    zygote: Zygote,
    tokens: Sequence[str],
    folder: Path,
    outputs: Callable[[Path], dict[str, Any]],
) -> KilledJob:
    """A job and its uninterrupted run in the folder."""
    out, log = folder / "out", folder / "operations"
    fate = Fate(f"open .* {out}/.*|os.* {out}/.*", log=str(log))
    child = zygote.start([token.format(out=out) for token in tokens], fate=fate)
    assert child.wait() == 0, child.errors
    return KilledJob(zygote, tokens, outputs(out), int(log.read_text()), outputs)


def hidden(out: Path) -> list[str]:
    """What a job leaves at temporary names."""
    return [path.name for path in out.iterdir() if path.name.startswith(".")]


def journalled(out: Path) -> int:
    """The tiles in the journal, each line of which must be whole JSON but the last."""
    if not (out / JOURNAL).exists():
        return 0
    lines = (out / JOURNAL).read_bytes().split(b"\n")
    for line in lines[:-1]:
        json.loads(line)
    return len(lines) - 2


def drawn(seed: int, count: int, low: float, high: float) -> list[float]:
    """Random moments, the same in every run."""
    draw = random.Random(seed)
    return [draw.uniform(low, high) for _ in range(count)]
