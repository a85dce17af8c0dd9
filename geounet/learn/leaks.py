"""Ground that is both learnt from and held out: found on Earth and by content, then refused.

Footprints are polygons; where two CRSs meet, one is reprojected with many points along each edge,
so that an edge that is straight in one keeps its bend in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyproj
import shapely
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from geounet.errors import InputError
from geounet.grid import Window
from geounet.learn.ground import Ground
from geounet.learn.labelled import LabelledScene

TOUCH = 0.05
"""Pixels: an overlap that is narrower on average is two edges that touch, up to rounding."""
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


def refuse_overlaps(scenes: Sequence[LabelledScene], grounds: Sequence[Ground]) -> tuple[str, ...]:
    """Check that no footprint of training overlaps one of validation, but for touching edges.

    Notes say what could not be compared.

    Raises:
        InputError: naming the first pair of scenes that overlap, and by how much.
    """
    learnt: dict[str, list[Footprint]] = {}
    held: dict[str, list[Footprint]] = {}
    for k, (scene, ground) in enumerate(zip(scenes, grounds, strict=True)):
        if scene.georeferenced:
            _file(learnt, Footprint(k, _learnt(ground), *_place(scene)))
            _file(held, Footprint(k, _union(ground.validation), *_place(scene)))
    notes = []
    for (one, ours), (other, theirs) in product(learnt.items(), held.items()):
        try:
            common = _common(ours[0].crs, theirs[0].crs)
            placed = [_placed(side, common) for side in (ours, theirs)]
        except ProjError:
            notes.append(
                f"whether training and validation overlap is not known between {one[:60]} and "
                f"{other[:60]}: PROJ knows no way from one to the other"
            )
            continue
        _refuse(scenes, *placed)
    return tuple(notes)


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


def _refuse(
    scenes: Sequence[LabelledScene],
    learnt: list[tuple[Footprint, shapely.Geometry]],
    held: list[tuple[Footprint, shapely.Geometry]],
) -> None:
    """Refuse the first overlap, by the order of the scenes."""
    tree = shapely.STRtree([shape for _, shape in held])
    pairs = tree.query([shape for _, shape in learnt], predicate="intersects").T
    for i, j in sorted(map(tuple, pairs.tolist())):
        (ours, shape), (theirs, other) = learnt[i], held[j]
        common = shapely.intersection(shape, other)
        # A pixel of the training scene, as large as it is where the two are compared.
        pixel = float(np.sqrt(shape.area / ours.pixels.area))
        if ours.scene == theirs.scene or not _is_wider(common, TOUCH * pixel):
            continue
        one, two = scenes[ours.scene].name, scenes[theirs.scene].name
        raise InputError(
            f"{one} (training) and {two} (validation) overlap: {100 * common.area / other.area:.3g}"
            f" % of the ground held out of {two}, about {common.area / pixel**2:.0f} pixels, is "
            f"learnt from in {one}: {REMEDY}"
        )


def _file(by_crs: dict[str, list[Footprint]], footprint: Footprint) -> None:
    if not footprint.pixels.is_empty:
        by_crs.setdefault(footprint.crs.to_wkt(), []).append(footprint)


def _place(scene: LabelledScene) -> tuple[Affine, CRS]:
    return scene.grid.transform, scene.grid.crs


def _learnt(ground: Ground) -> shapely.Geometry:
    """All that is not closed, in (col, row)."""
    rows, cols = ground.shape
    return shapely.difference(shapely.box(0, 0, cols, rows), _union(ground.closed))


def _union(windows: Sequence[Window]) -> shapely.Geometry:
    boxes = [shapely.box(c.start, r.start, c.stop, r.stop) for r, c in windows]
    return shapely.union_all(boxes)


def _is_wider(shape: shapely.Geometry, width: float) -> bool:
    """A strip of length l and width w has an area of l·w and a perimeter of about 2·l."""
    return bool(shape.length > 0 and 2 * shape.area / shape.length > width)


def _common(one: CRS, other: CRS) -> CRS:
    """The CRS to compare in: a projected one if there is one, as it does not end at 180°."""
    return other if one.is_geographic and not other.is_geographic else one


def _placed(footprints: Sequence[Footprint], crs: CRS) -> list[tuple[Footprint, shapely.Geometry]]:
    """The footprints in ``crs``; those that lie too far from where it holds are left out."""
    source = footprints[0].crs
    if source == crs:
        return [(f, _moved(f.pixels, f.transform)) for f in footprints]
    ends = [pyproj.CRS.from_wkt(c.to_wkt()) for c in (source, crs)]
    to_crs = pyproj.Transformer.from_crs(ends[0], ends[1], always_xy=True)
    placed = []
    for footprint in footprints:
        left, top, right, bottom = footprint.pixels.bounds
        step = max(right - left, bottom - top) / POINTS
        shape = _moved(shapely.segmentize(footprint.pixels, step), footprint.transform)
        shape = shapely.transform(shape, lambda xy: np.stack(to_crs.transform(*xy.T), axis=-1))
        if np.isfinite(shape.bounds).all():
            placed.append((footprint, shapely.make_valid(shape)))
    return placed


def _moved(shape: shapely.Geometry, transform: Affine) -> shapely.Geometry:
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(
        shape, lambda xy: np.stack([xy @ (a, b) + c, xy @ (d, e) + f], axis=-1)
    )
