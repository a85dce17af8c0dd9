"""Normalised differences of two bands, ``(a − b) / (a + b)``: more of what the network sees.

A difference over its sum does not change when another sun or slope makes all bands brighter by
one factor; a network of convolutions cannot divide, so it is given the quotient. Each is a value
per pixel, so that no window can matter (rule 5 of exact tiling).
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import numpy as np

Pairs = tuple[tuple[int, int], ...]
"""Positions of two bands, for each index."""

FLOOR = 0.01
"""Least sum, in the card's unit, that a difference is divided by: 1 % where that is reflectance."""


Bands = TypeVar("Bands", np.ndarray[Any, Any], jax.Array)
"""Of NumPy or JAX, along the last axis."""


def normalised_differences(bands: Bands, pairs: Pairs) -> Bands:
    """``(a − b) / max(a + b, FLOOR)`` of each pair, negative numbers taken as 0; NaN stays NaN.

    (… band) → (… pair). It lies in −1 to 1, is 0 where both are 0, and is continuous: rounding of
    dark pixels, which may differ from window to window, cannot make it jump.
    """
    xp: Any = bands.__array_namespace__()
    lit: Bands = xp.maximum(bands, xp.zeros_like(bands))
    found = []
    for first, second in pairs:
        a, b = lit[..., first], lit[..., second]
        found.append((a - b) / xp.maximum(a + b, xp.full_like(a, FLOOR)))
    stacked: Bands = xp.stack(found, axis=-1)
    return stacked
