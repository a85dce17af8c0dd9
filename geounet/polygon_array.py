"""Many polygons in three arrays: from the tracer to a file without an object for each.

Shapely's objects are what most of the package works on. For a million polygons of 33 vertices,
making them takes 4 to 5 s and writing them as bytes another 4 s; these arrays become the same bytes
in 1 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from geounet.polygons.compiled import compiled

_RING_HEAD = 4
_POLYGON_HEAD = 9


@dataclass(frozen=True)
class PolygonArray:
    """Polygons as rings of vertices; the first ring of each is its shell.

    Attributes:
        xy: the vertices; each ring has its first once more at its end.
        ring_at: ring ``k`` is ``xy[ring_at[k]:ring_at[k + 1]]``.
        polygon_at: polygon ``k`` has the rings ``polygon_at[k]`` to ``polygon_at[k + 1]``.
    """

    xy: Float[ndarray, "vertex 2"]
    ring_at: Int[ndarray, " ring_and_end"]
    polygon_at: Int[ndarray, " polygon_and_end"]

    def __len__(self) -> int:
        return len(self.polygon_at) - 1

    def __getitem__(self, part: slice) -> PolygonArray:
        """Some of the polygons, in order; the arrays are views of these."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"a step of {step}: only polygons that follow each other are a part")
        stop = max(start, stop)
        of = self.polygon_at[start : stop + 1]
        at = self.ring_at[of[0] : of[-1] + 1]
        return PolygonArray(self.xy[at[0] : at[-1]], at - at[0], of - of[0])

    @property
    def shapely(self) -> ndarray:
        """The same as shapely's objects."""
        return shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.xy, (self.ring_at, self.polygon_at)
        )


def shapely_of(polygons: ndarray | PolygonArray) -> ndarray:
    """Shapely's objects, whichever way the polygons are held."""
    return polygons.shapely if isinstance(polygons, PolygonArray) else polygons


def concatenated(parts: Sequence[Any]) -> Any:
    """Arrays, or polygons of one kind, one after another."""
    if not isinstance(parts[0], PolygonArray):
        return np.concatenate(parts)
    return PolygonArray(
        np.concatenate([p.xy for p in parts]),
        _offsets(np.concatenate([np.diff(p.ring_at) for p in parts])),
        _offsets(np.concatenate([np.diff(p.polygon_at) for p in parts])),
    )


@dataclass(frozen=True)
class Wkb:
    """Well-known binary of polygons, one after another: ``data[at[k]:at[k + 1]]`` is one.

    ``rings`` and ``vertices`` are those of all.
    """

    at: Int[ndarray, " polygon_and_end"]
    data: UInt8[ndarray, " byte"]
    rings: int
    vertices: int


def wkb_of(polygons: ndarray | PolygonArray) -> Wkb:
    """Little-endian WKB (OGC 06-103r4, section 8) of shapely polygons or a `PolygonArray`.

    Both give the same bytes for the same polygons.
    """
    if isinstance(polygons, PolygonArray):
        return _wkb_of_arrays(polygons)
    parts = shapely.to_wkb(polygons, byte_order=1).tolist()
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return Wkb(
        _offsets(lengths),
        np.frombuffer(b"".join(parts), np.uint8),
        int(shapely.get_num_interior_rings(polygons).sum()) + len(parts),
        int(shapely.get_num_coordinates(polygons).sum()),
    )


def _wkb_of_arrays(polygons: PolygonArray) -> Wkb:
    vertices = np.diff(polygons.ring_at)
    first = polygons.polygon_at[:-1]
    head = np.zeros(len(vertices), np.int64)
    head[first] = _POLYGON_HEAD
    ends = _offsets(head + _RING_HEAD + 16 * vertices)
    data = np.empty(ends[-1], np.uint8)
    heads = np.empty((len(polygons), _POLYGON_HEAD), np.uint8)
    heads[:, :5] = (1, 3, 0, 0, 0)
    heads[:, 5:] = _little_endian(np.diff(polygons.polygon_at))
    for where, content in (
        (ends[first], heads),
        (ends[:-1] + head, _little_endian(vertices)),
    ):
        data[where[:, None] + np.arange(content.shape[1])] = content
    xy = np.ascontiguousarray(polygons.xy, "<f8").view(np.uint8).ravel()
    _fill(data, ends[:-1] + head + _RING_HEAD, xy, 16 * polygons.ring_at)
    at = np.append(ends[first], ends[-1])
    return Wkb(at, data, len(vertices), len(polygons.xy))


@compiled
def _fill(data, starts, source, at):
    """Copy part k of ``source`` to where it starts in ``data``."""
    for k in range(starts.size):
        length = at[k + 1] - at[k]
        data[starts[k] : starts[k] + length] = source[at[k] : at[k + 1]]


def _little_endian(numbers: ndarray) -> UInt8[ndarray, "number 4"]:
    return numbers.astype("<u4")[:, None].view(np.uint8)


def _offsets(lengths: ndarray) -> Int[ndarray, " length_and_end"]:
    at = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=at[1:])
    return at
