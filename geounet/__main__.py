"""``geounet`` and ``python -m geounet``: from its first moment on, Ctrl-C ends it in one line.

Raised as an exception while libraries are loaded it would end in tracebacks, in errors of theirs,
and in a crash where it meets the start of compiled code. A job has a way of its own to stop: see
``geounet.stop``.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from geounet.errors import INTERRUPTED


def main() -> None:
    """See ``geounet.cli.main``."""
    signal.signal(signal.SIGINT, _end)
    from geounet.cli import main as run

    run()


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, f"geounet: {INTERRUPTED}\n".encode())
    os._exit(130)


if __name__ == "__main__":
    main()
