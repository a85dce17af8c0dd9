"""How the loops over pixels and vertices are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(function: Loop) -> Loop:
    """Compile with Numba: without the interpreter's lock, and kept on disk where that can be.

    Numba keeps what it compiled beside the source, or else in the user's cache folder.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # Neither folder can be written: each run compiles anew.
        return numba.njit(nogil=True)(function)
