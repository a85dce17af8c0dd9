"""How the loops over pixels and vertices are compiled, and where the result is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])
_ROOM = 64 * 2**20


def compiled(function: Loop) -> Loop:
    """Compile with Numba: without the interpreter's lock, and kept on disk where that can be."""
    folder = _folder()
    if folder is None:
        return cast(Loop, numba.njit(nogil=True)(function))
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return cast(Loop, numba.njit(nogil=True, cache=True)(function))
    finally:
        # Other code of this process keeps its own folder.
        config.CACHE_DIR = before


def is_ready() -> bool:
    """True if loops were compiled before, and need not be again."""
    folder = _folder()
    return folder is not None and any(folder.rglob("*.nbc"))


@cache
def _folder() -> Path | None:
    """The user's cache, in a folder of these very sources; None if it cannot be used.

    Numba looks at the file of a loop only. A loop that was compiled with another version of one
    that it calls, from another file, would be taken for good.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "geounet" / "loops" / digest[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        roomy = shutil.disk_usage(folder).free > _ROOM
    except (OSError, RuntimeError):
        return None
    return folder if roomy and os.access(folder, os.W_OK) else None
