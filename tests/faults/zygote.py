"""A process that has imported everything, and forks a child for each command that a test starts.

A command takes 6 s of imports, and a test that kills it a hundred times would spend them a hundred
times. A child of fork begins where the imports end. That is sound because the zygote has one
thread, which is checked before every fork: no lock can be held by a thread that the child lacks.
JAX has no backend yet, Dask no loop, GDAL no file open: each child starts its own, as a command
does. Everything after the imports is what ``geounet`` does, up to the exit of the interpreter: its
threads are joined and what was registered for the exit is called, but modules are not taken apart.

Run as a program it reads a request a line, and answers a line each.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Libraries that start a thread when they are imported, and how to ask them not to."""
_FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


@dataclass(frozen=True)
class Fate:
    """A child that is killed by SIGKILL just before one of its own file operations.

    Attributes:
        pattern: of the whole of ``EVENT PATH`` that counts, for example ``os.rename .*/mask\\..*``;
            that of ``open`` is ``open MODE PATH``. Paths are as the program gives them.
        number: which of them it does not come to do; the first is 1.
        log: where the number of operations is written if the child reaches its end.
    """

    pattern: str
    number: int = 0
    log: str = ""


class Child:
    """A command that a zygote has forked."""

    def __init__(self, zygote: Zygote, pid: int, told: Path) -> None:
        self._zygote, self.pid, self._told = zygote, pid, told
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._zygote.ask({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, seconds: float = 240.0) -> int:
        """The exit code.

        Raises:
            TimeoutError: if it still runs after these seconds; it is killed then.
        """
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"a command still ran after {seconds} s: {self.errors}")
            time.sleep(0.003)
        assert self.returncode is not None
        return self.returncode

    def end(self) -> str:
        """What it told, when it has come to its end without a failure."""
        assert self.wait() == 0, self.errors
        return self.errors

    @property
    def cpu(self) -> float:
        """Seconds of CPU time so far; 0 if it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and to all that it started, unless it has ended."""
        if self.poll() is None:
            os.killpg(self.pid, number)

    @property
    def printed(self) -> str:
        return self._told.with_suffix(".out").read_text(errors="replace")

    @property
    def errors(self) -> str:
        return self._told.with_suffix(".err").read_text(errors="replace")


class Zygote:
    """Forks commands. Use as a context.

    Args:
        folder: for what the commands print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
        )

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(
        self,
        tokens: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        seconds: int = 0,
        fate: Fate | None = None,
        call: str = "",
        user: int = 0,
    ) -> Child:
        """Begin ``geounet`` with these arguments.

        Args:
            tokens: what stands after ``geounet``.
            env: added to the environment.
            limits: of resources, by the names of ``setrlimit``.
            seconds: after which the kernel sends SIGALRM; 0 for never.
            fate: where it is killed.
            call: ``module:function`` to be given the arguments in place of the command; how it ends
                is told as the command would.
            user: that the child becomes; 0 for whoever the zygote is.
        """
        self._count += 1
        told = self._folder / f"{self._count}"
        request = {
            "tokens": list(map(str, tokens)),
            "told": str(told),
            "env": dict(env or {}),
            "limits": dict(limits or {}),
            "seconds": seconds,
            "call": call,
            "user": user,
            "fate": None if fate is None else vars(fate),
        }
        return Child(self, self.ask(request)["pid"], told)

    def run(self, tokens: Sequence[str], **how: Any) -> Child:
        """A command that has come to its end."""
        child = self.start(tokens, **how)
        child.wait()
        return child

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        ours, theirs = self._process.stdin, self._process.stdout
        assert ours is not None
        assert theirs is not None
        ours.write(json.dumps(request) + "\n")
        ours.flush()
        line = theirs.readline()
        assert line, "the zygote has ended; see its errors above"
        return json.loads(line)


def serve() -> None:
    """Import everything, then answer requests until there are none.

    A child leaves this function, too: its answer is its exit code.
    """
    _import_everything()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            answer = {"code": _code_of(request["poll"])}
        else:
            pid = _fork()
            if not pid:
                _exit(_live(request))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _import_everything() -> None:
    import geounet
    from geounet.versions import versions

    for module in pkgutil.walk_packages(geounet.__path__, "geounet."):
        importlib.import_module(module.name)
    importlib.import_module("tests.faults.full_disks")
    # Looks up packages with modules that are imported then, which a child that has become nobody
    # may not open.
    versions()
    gc.collect()
    # What was imported stays: a child's collector need not go through it, and copy its pages.
    gc.freeze()


def _fork() -> int:
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"the zygote has {threads} threads: a child may find a lock held")
    return os.fork()


def _exit(code: int) -> NoReturn:
    """The end of a process, without half a second of freeing what a zygote has imported."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _live(request: Mapping[str, Any]) -> int:
    """What the child does: become a process of its own, then the command."""
    os.setsid()
    for handle, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(request["told"] + suffix, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, handle)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.update(request["env"])
    for name, value in request["limits"].items():
        kind = getattr(resource, name)
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
    if request["fate"] is not None:
        _await(Fate(**request["fate"]))
    signal.alarm(request["seconds"])
    if request["user"]:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    from geounet import cli
    from geounet.errors import GeounetError

    if not request["call"]:
        sys.argv = ["geounet", *request["tokens"]]
        return cli.run(request["tokens"])
    module, _, name = request["call"].partition(":")
    try:
        return int(getattr(importlib.import_module(module), name)(*request["tokens"]))
    except GeounetError as error:
        print(f"geounet: {error}", file=sys.stderr)
        return error.exit_code


def _await(fate: Fate) -> None:
    """Have Python call us before each file operation, of whichever thread."""
    counts, done = re.compile(fate.pattern, re.DOTALL).fullmatch, 0

    def look(event: str, args: tuple[Any, ...]) -> None:
        nonlocal done
        if event not in _FILE_EVENTS or not counts(_told(event, args)):
            return
        done += 1
        if done == fate.number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    if fate.log:
        atexit.register(lambda: Path(fate.log).write_text(str(done)))


def _told(event: str, args: tuple[Any, ...]) -> str:
    return " ".join([event, *([str(args[1])] if event == "open" else []), str(args[0])])


if __name__ == "__main__":
    serve()
