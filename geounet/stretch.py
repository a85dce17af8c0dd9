"""A display stretch: the linear map that brings two percentiles of a band to 0 and 1.

Percentiles are those of the valid pixels of the whole scene, counted window by window, so that
they do not depend on how the scene is cut. Counts are kept per *key*, a number of 16 bits that is
ordered as the values are: for integers of up to 16 bits the value itself, and for anything else
the upper half of the value's float32 bits, which tells values apart that differ by 1 % or more
(inside a key, values are taken as evenly spread).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt16

KEYS = 65536
SIGN = np.uint32(0x8000_0000)

Counts = Int[np.ndarray, "band 65536"]
Bounds = tuple[tuple[float, float], ...]


def count(bands: Shaped[np.ndarray, "row col band"], valid: Bool[np.ndarray, "row col"]) -> Counts:
    """Valid pixels by band and key; counts of two windows add up to those of both."""
    pixels = bands[valid]
    keys = _keys(pixels)
    return np.stack([np.bincount(column, minlength=KEYS) for column in keys.T])


def bounds(counts: Counts, dtype: np.dtype, percentiles: tuple[float, float]) -> Bounds:
    """The values of each band at two percentiles, 0 to 100; (0, 0) for a band without a pixel.

    An integer percentile is a value that occurs: the smallest that at least this share of the
    pixels does not exceed.
    """
    low, high = percentiles
    return tuple((_value(c, dtype, low), _value(c, dtype, high)) for c in counts)


def to_unit(low: float, high: float) -> tuple[float, float]:
    """(scale, offset) that bring ``low`` to 0 and ``high`` to 1; a flat band becomes 0."""
    if not high > low:
        return 0.0, 0.0
    return 1 / (high - low), -low / (high - low)


def _keys(values: Shaped[np.ndarray, "pixel band"]) -> UInt16[np.ndarray, "pixel band"]:
    if _is_counted_exactly(values.dtype):
        return (values.astype(np.int32) + _shift(values.dtype)).astype(np.uint16)
    bits = values.astype(np.float32).view(np.uint32)
    # Negative numbers sort backwards by their bits: IEEE 754 keeps the sign apart.
    ordered = np.where(bits & SIGN, ~bits, bits | SIGN)
    return (ordered >> np.uint32(16)).astype(np.uint16)


def _value(counts: Int[np.ndarray, " 65536"], dtype: np.dtype, percentile: float) -> float:
    total = np.cumsum(counts)
    if not total[-1]:
        return 0.0
    rank = max(1.0, total[-1] * percentile / 100)
    key = int(np.searchsorted(total, rank))
    if _is_counted_exactly(dtype):
        return float(key - _shift(dtype))
    inside = 1 - (total[key] - rank) / counts[key]
    low, high = _floats(np.array([key, min(key + 1, KEYS - 1)], np.uint32))
    return float(low + (high - low) * inside)


def _floats(keys: np.ndarray) -> Float[np.ndarray, " key"]:
    ordered = keys.astype(np.uint32) << np.uint32(16)
    bits = np.where(ordered & SIGN, ordered ^ SIGN, ~ordered)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def _is_counted_exactly(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _shift(dtype: np.dtype) -> int:
    return -int(np.iinfo(dtype).min)
