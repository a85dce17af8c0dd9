"""Noise on an endless plane: any window of it, without the rest.

Value noise: random numbers at the nodes of lattices, each twice as fine and half as strong as the
one before, joined by cubics. A node's number is a hash of its place and the seed, so that
``noise(window) == noise(whole)[window]``, bit for bit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt64
from numpy import ndarray

_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ROW, _COL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


def uniform(rows: ndarray, cols: ndarray, seed: int) -> Float[ndarray, "row col"]:
    """A number of 0 to 1 for each place, of which none tells another (SplitMix64)."""
    place = rows.astype(np.int64).view(np.uint64)[:, None] * _ROW
    mixed = _mixed(place + cols.astype(np.int64).view(np.uint64)[None] * _COL + np.uint64(seed))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def normal(rows: ndarray, cols: ndarray, seed: int) -> Float[ndarray, "row col"]:
    """About normal, of mean 0 and deviation 1: a sum of four uniform numbers."""
    drawn = sum(uniform(rows, cols, seed + 7919 * k) for k in range(4))
    return (drawn - 2) * np.sqrt(3.0)


def smooth(
    rows: ndarray, cols: ndarray, size: float, seed: int, octaves: int = 4
) -> Float[ndarray, "row col"]:
    """Noise of mean 0 and deviation of about 1, whose largest features are ``size`` pixels."""
    total, weight = np.zeros((len(rows), len(cols))), 0.0
    for octave in range(octaves):
        share = 0.5**octave
        total += share * _lattice(rows / size, cols / size, seed + 101 * octave)
        weight += share**2
        size /= 2
    return total / (0.46 * np.sqrt(weight))


def _lattice(down: ndarray, right: ndarray, seed: int) -> Float[ndarray, "row col"]:
    r, c = np.floor(down).astype(np.int64), np.floor(right).astype(np.int64)
    u, v = _eased(down - r)[:, None], _eased(right - c)[None]
    corner = [[2 * uniform(r + i, c + j, seed) - 1 for j in (0, 1)] for i in (0, 1)]
    above = corner[0][0] * (1 - v) + corner[0][1] * v
    below = corner[1][0] * (1 - v) + corner[1][1] * v
    return above * (1 - u) + below * u


def _eased(t: ndarray) -> ndarray:
    return t * t * (3 - 2 * t)


def _mixed(x: UInt64[ndarray, "row col"]) -> UInt64[ndarray, "row col"]:
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))
