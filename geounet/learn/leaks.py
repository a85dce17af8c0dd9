"""Ground that is both learnt from and held out: found on Earth and by content, then refused.

Ground near what is held out in another scene is closed (blocks) or told (whole scenes).

Footprints are polygons; where two CRSs meet, one is reprojected with many points along each edge,
so that an edge that is straight in one keeps its bend in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import ceil, floor

import numpy as np
import pyproj
import shapely
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from geounet.errors import InputError
from geounet.grid import Grid, Window
from geounet.learn.ground import Ground, widened
from geounet.learn.label_coding import some
from geounet.learn.labelled import LabelledScene

TOUCH = 0.05
"""Pixels: an overlap that is narrower on average is two edges that touch, up to rounding."""
ROUNDING = 1e-4
"""Pixels by which a corner may be off when it is carried from one grid to another."""
POINTS = 64
"""Points along each side of a reprojected scene."""
REMEDY = "hold out both or neither (validation by column, scenes or blocks), or remove one"


@dataclass(frozen=True)
class Footprint:
    """One side of a scene's ground: ``pixels`` is its polygon in (col, row) of the scene."""

    scene: int
    pixels: shapely.Geometry
    transform: Affine
    crs: CRS


PlacedOne = tuple[Footprint, shapely.Geometry]
Placed = Sequence[PlacedOne]


def close_nearby(
    scenes: Sequence[LabelledScene], grounds: Sequence[Ground], distance: int
) -> tuple[Ground, ...]:
    """Close what lies within ``distance`` of validation in another scene, as in its own.

    The distance is in pixels of the scene that has the validation. What is closed is the smallest
    window of the other grid around it. Scenes without a place stay as they are.
    """
    whole = _filed(scenes, ((k, _union([scene.grid.whole])) for k, scene in enumerate(scenes)))
    blocks = ((k, w) for k, g in enumerate(grounds) for w in widened(g.validation, distance))
    held = _filed(scenes, ((k, _union([window])) for k, window in blocks))
    closed = [list(ground.closed) for ground in grounds]
    for ours, theirs in product(whole.values(), held.values()):
        try:
            common = _common(ours[0].crs, theirs[0].crs)
            pairs = list(_meeting(_placed(ours, common), _placed(theirs, common)))
        except ProjError:
            continue  # refuse_overlaps tells of it.
        for (one, _), (other, _) in pairs:
            window = _window_of(other, scenes[one.scene].grid)
            if window is not None and window not in closed[one.scene]:
                closed[one.scene].append(window)
    return tuple(replace(g, closed=tuple(c)) for g, c in zip(grounds, closed, strict=True))


def refuse_overlaps(
    scenes: Sequence[LabelledScene], grounds: Sequence[Ground], distance: int
) -> tuple[str, ...]:
    """Check that no footprint of training overlaps one of validation, but for touching edges.

    Notes say what could not be compared, and which training ground lies within ``distance``, in
    pixels, of validation in another scene.

    Raises:
        InputError: naming the first pair of scenes that overlap, and by how much.
    """
    learnt = _filed(scenes, enumerate(map(_learnt, grounds)))
    held = _filed(scenes, enumerate(_held(ground) for ground in grounds))
    around = _filed(scenes, enumerate(_held(ground, distance) for ground in grounds))
    notes: list[str] = []
    near: set[tuple[int, int]] = set()
    for one, other in product(learnt, held):
        try:
            common = _common(learnt[one][0].crs, held[other][0].crs)
            ours = _placed(learnt[one], common)
            theirs, nearby = _placed(held[other], common), _placed(around[other], common)
        except ProjError:
            notes.append(
                f"whether training and validation overlap is not known between {one[:60]} and "
                f"{other[:60]}: PROJ knows no way from one to the other"
            )
            continue
        _refuse(scenes, ours, theirs)
        near |= {(a.scene, b.scene) for (a, _), (b, _) in _meeting(ours, nearby)}
    return (*notes, *_near_note(scenes, sorted(near), distance))


def refuse_copies(
    scenes: Sequence[LabelledScene], grounds: Sequence[Ground], digests: Sequence[str]
) -> None:
    """``digests`` name each scene's content; "" where it has none worth comparing.

    Raises:
        InputError: naming two scenes of the same pixels of which one is learnt from and the other
            held out.
    """
    held: dict[str, int] = {}
    for k, ground in enumerate(grounds):
        if digests[k] and ground.validation:
            held.setdefault(digests[k], k)
    for k, ground in enumerate(grounds):
        other = held.get(digests[k], k)
        if other != k and not _learnt(ground).is_empty:
            raise InputError(
                f"{scenes[k].name} (training) and {scenes[other].name} (validation) hold the same "
                f"pixels: {REMEDY}"
            )


def _refuse(scenes: Sequence[LabelledScene], learnt: Placed, held: Placed) -> None:
    """Refuse the first overlap, by the order of the scenes."""
    for (ours, shape), (theirs, other) in _meeting(learnt, held):
        common = shapely.intersection(shape, other)
        one, two = scenes[ours.scene].name, scenes[theirs.scene].name
        pixels = common.area / _pixel(ours, shape) ** 2
        raise InputError(
            f"{one} (training) and {two} (validation) overlap: {100 * common.area / other.area:.3g}"
            f" % of the ground held out of {two}, about {pixels:.0f} pixels, is "
            f"learnt from in {one}: {REMEDY}"
        )


def _meeting(ours: Placed, theirs: Placed) -> Iterator[tuple[PlacedOne, PlacedOne]]:
    """Pairs of two scenes that share more than an edge, by the order of the scenes."""
    tree = shapely.STRtree([shape for _, shape in theirs])
    pairs = tree.query([shape for _, shape in ours], predicate="intersects").T
    for i, j in sorted(map(tuple, pairs.tolist())):
        (one, shape), (other, another) = ours[i], theirs[j]
        if one.scene == other.scene:
            continue
        if _is_wider(shapely.intersection(shape, another), TOUCH * _pixel(one, shape)):
            yield ours[i], theirs[j]


def _pixel(footprint: Footprint, shape: shapely.Geometry) -> float:
    """The side of a pixel, as large as it is where the shape was placed."""
    return float(np.sqrt(shape.area / footprint.pixels.area))


def _near_note(
    scenes: Sequence[LabelledScene], near: Sequence[tuple[int, int]], distance: int
) -> tuple[str, ...]:
    if not near:
        return ()
    pairs = some([f"{scenes[i].name} of {scenes[j].name}" for i, j in near])
    return (
        f"training ground lies within {distance} pixels, the network's receptive radius, of "
        f"ground held out ({pairs}): scores there are not independent; hold out whole regions, "
        "or blocks, which keep that distance",
    )


def _filed(
    scenes: Sequence[LabelledScene], shapes: Iterable[tuple[int, shapely.Geometry]]
) -> dict[str, list[Footprint]]:
    """By CRS, what has a place and is not empty; each shape with the number of its scene."""
    by_crs: dict[str, list[Footprint]] = {}
    for k, shape in shapes:
        grid = scenes[k].grid
        if grid.georeferenced and not shape.is_empty:
            footprint = Footprint(k, shape, grid.transform, grid.crs)
            by_crs.setdefault(grid.crs.to_wkt(), []).append(footprint)
    return by_crs


def _window_of(footprint: Footprint, grid: Grid) -> Window | None:
    """The smallest window of ``grid`` around a footprint; None where it cannot be carried."""
    placed = _placed([footprint], grid.crs)
    if not placed:
        return None
    left, top, right, bottom = _moved(placed[0][1], ~grid.transform).bounds
    rows, cols = (
        slice(floor(first + ROUNDING), ceil(last - ROUNDING))
        for first, last in ((top, bottom), (left, right))
    )
    return (rows, cols)


def _learnt(ground: Ground) -> shapely.Geometry:
    """All that is not closed, in (col, row)."""
    rows, cols = ground.shape
    return shapely.difference(shapely.box(0, 0, cols, rows), _union(ground.closed))


def _held(ground: Ground, distance: int = 0) -> shapely.Geometry:
    return _union(widened(ground.validation, distance))


def _union(windows: Sequence[Window]) -> shapely.Geometry:
    boxes = [shapely.box(c.start, r.start, c.stop, r.stop) for r, c in windows]
    return shapely.union_all(boxes)


def _is_wider(shape: shapely.Geometry, width: float) -> bool:
    """A strip of length l and width w has an area of l·w and a perimeter of about 2·l."""
    return bool(shape.length > 0 and 2 * shape.area / shape.length > width)


def _common(one: CRS, other: CRS) -> CRS:
    """The CRS to compare in: a projected one if there is one, as it does not end at 180°."""
    return other if one.is_geographic and not other.is_geographic else one


def _placed(footprints: Sequence[Footprint], crs: CRS) -> Placed:
    """The footprints in ``crs``; those that lie too far from where it holds are left out."""
    source = footprints[0].crs
    if source == crs:
        return [(f, _moved(f.pixels, f.transform)) for f in footprints]
    to_crs = _carrier(source.to_wkt(), crs.to_wkt())
    placed = []
    for footprint in footprints:
        left, top, right, bottom = footprint.pixels.bounds
        step = max(right - left, bottom - top) / POINTS
        shape = _moved(shapely.segmentize(footprint.pixels, step), footprint.transform)
        shape = shapely.transform(shape, lambda xy: np.stack(to_crs.transform(*xy.T), axis=-1))
        if np.isfinite(shape.bounds).all():
            placed.append((footprint, shapely.make_valid(shape)))
    return placed


@cache
def _carrier(source: str, target: str) -> pyproj.Transformer:
    ends = [pyproj.CRS.from_wkt(wkt) for wkt in (source, target)]
    return pyproj.Transformer.from_crs(ends[0], ends[1], always_xy=True)


def _moved(shape: shapely.Geometry, transform: Affine) -> shapely.Geometry:
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(
        shape, lambda xy: np.stack([xy @ (a, b) + c, xy @ (d, e) + f], axis=-1)
    )
