"""Zones, such as districts, that give each feature the name of the one that it lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from geounet.aoi import read_polygons, vector_header
from geounet.errors import InputError
from geounet.features import Features
from geounet.grid import Grid
from geounet.polygon_array import shapely_of

_WHAT = "a file of zones"
_NAMES = ("name", "shapename")
_DEPTH = 8
_VERTICES = 256
_DIGITS = 9


@dataclass(frozen=True)
class Zones:
    """Named areas in a scene's CRS.

    They are kept in pieces of few vertices: a border of a hundred thousand would be walked whole
    for every feature that it crosses.

    Attributes:
        names: of the zones, in file order.
        pieces: polygons without holes in common.
        zone_of: the zone that each piece is part of.
    """

    names: tuple[str, ...]
    pieces: ndarray
    zone_of: Int[ndarray, " piece"]

    @classmethod
    def read(cls, path: str | Path, grid: Grid, field: str | None = None) -> Zones:
        """The polygons of a file; those of one name are one zone.

        Args:
            path: a vector file.
            grid: of the scene whose features will be joined.
            field: that holds the names. Without it the only field of text, or one called ``name``.

        Raises:
            InputError: if the file cannot be read, no field is given and none is plain, or no zone
                lies on the scene.
        """
        column = _name_field(path, field)
        frame = read_polygons(path, grid, [column], _WHAT)
        names = [_text(value) for value in frame[column].tolist()]
        areas: dict[str, list[shapely.Geometry]] = {}
        for name, area in zip(names, frame.geometry.to_numpy(), strict=True):
            if name and np.isfinite(area.bounds).all():
                areas.setdefault(name, []).append(area)
        whole = np.array([shapely.union_all(shapely.make_valid(a)) for a in areas.values()], object)
        pieces, zone_of = _in_pieces(whole, grid)
        if not len(pieces):
            raise InputError(
                f"{path}: no polygon with a name lies on the scene; is it the right file and field?"
            )
        return cls(tuple(areas), pieces, zone_of)

    def join(self, features: Features) -> Features:
        """The features with the zone that holds the largest part of each, or ``""``.

        Of zones that hold equal parts it is the first in the file. No feature's zone depends on
        which others it comes with.
        """
        polygons = shapely_of(features.polygon)
        feature, piece = self._tree.query(polygons, predicate="intersects")
        order = np.lexsort((piece, feature))
        feature, piece = feature[order], piece[order]
        part = self._parts(polygons, feature, piece)
        chosen = self._largest(feature, piece, part, len(polygons))
        names = np.array([*self.names, ""], object)
        return replace(features, zone=names[chosen])

    @cached_property
    def _tree(self) -> shapely.STRtree:
        shapely.prepare(self.pieces)
        return shapely.STRtree(self.pieces)

    def _parts(
        self, polygons: ndarray, feature: Int[ndarray, " pair"], piece: Int[ndarray, " pair"]
    ) -> Float[ndarray, " pair"]:
        """The share of a feature that lies in a piece: 1 without arithmetic where that is all."""
        part = np.ones(len(feature))
        alone = np.bincount(feature, minlength=len(polygons))[feature] == 1
        within = alone.copy()
        within[alone] = shapely.covers(self.pieces[piece[alone]], polygons[feature[alone]])
        open_ = ~within
        some = _valid(polygons[feature[open_]])
        shared = shapely.area(shapely.intersection(self.pieces[piece[open_]], some))
        part[open_] = shared / shapely.area(some)
        return part

    def _largest(
        self, feature: ndarray, piece: ndarray, part: ndarray, count: int
    ) -> Int[ndarray, " feature"]:
        """The index of each feature's zone; that of none is the number of zones."""
        pair, of = np.unique(feature * len(self.names) + self.zone_of[piece], return_inverse=True)
        # ^ Rounded, since the parts of two pieces may differ from those of one in the last digit.
        share = np.round(np.bincount(of, weights=part, minlength=len(pair)), _DIGITS)
        feature, zone = pair // len(self.names), pair % len(self.names)
        order = np.lexsort((zone, -share, feature))
        order = order[share[order] > 0]
        chosen = np.full(count, len(self.names))
        which, first = np.unique(feature[order], return_index=True)
        chosen[which] = zone[order][first]
        return chosen


def _name_field(path: str | Path, asked: str | None) -> str:
    info = vector_header(path)
    # GeoPandas takes a field of that name for the shapes.
    fields = [str(name) for name in info["fields"] if name != "geometry"]
    known = ", ".join(fields) or "none"
    if asked is not None:
        if asked not in fields:
            raise InputError(f"{path}: has no field {asked!r} for zones; its fields are {known}")
        return asked
    kinds = dict(zip(info["fields"].tolist(), info["ogr_types"], strict=True))
    texts = [field for field in fields if kinds[field] == "OFTString"]
    named = [field for name in _NAMES for field in texts if field.lower() == name]
    if not fields:
        raise InputError(f"{path}: its features have no fields, and one must name the zones")
    if len(texts) != 1 and not named:
        raise InputError(
            f"{path}: which field names the zones cannot be told; say it with "
            f"--zone-field, one of: {known}"
        )
    return (named or texts)[0]


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    # Numbers that name zones are whole, also where the file holds them as floats.
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:.0f}" if whole else str(value).strip()


def _in_pieces(zones: ndarray, grid: Grid) -> tuple[ndarray, Int[ndarray, " piece"]]:
    """Cut at the scene's frame, then in quarters until a piece has few vertices."""
    frame = shapely.bounds(shapely.Polygon(grid.corners))[None]
    boxes = np.repeat(frame, len(zones), 0)
    pieces, kept = _clipped(zones, boxes)
    zone_of, boxes = np.flatnonzero(kept), boxes[kept]
    done: list[tuple[ndarray, ndarray]] = []
    for _ in range(_DEPTH):
        large = shapely.get_num_coordinates(pieces) > _VERTICES
        done.append((pieces[~large], zone_of[~large]))
        boxes = _quarters(boxes[large])
        zone_of = np.repeat(zone_of[large], 4)
        pieces, kept = _clipped(np.repeat(pieces[large], 4), boxes)
        boxes, zone_of = boxes[kept], zone_of[kept]
    done.append((pieces, zone_of))
    return np.concatenate([p for p, _ in done]), np.concatenate([z for _, z in done])


def _clipped(
    shapes: ndarray, boxes: Float[ndarray, "box 4"]
) -> tuple[ndarray, Bool[ndarray, " box"]]:
    """The parts of shapes that have an area in their boxes, and which they are."""
    if not len(shapes):
        return np.empty(0, object), np.empty(0, bool)
    cut = shapely.intersection(shapes, shapely.box(*boxes.T))
    kept = shapely.area(cut) > 0
    return cut[kept], kept


def _quarters(boxes: Float[ndarray, "box 4"]) -> Float[ndarray, "quarter 4"]:
    left, bottom, right, top = boxes.T
    x, y = (left + right) / 2, (bottom + top) / 2
    corners: Sequence[tuple[ndarray, ...]] = (
        *((left, bottom, x, y), (x, bottom, right, y)),
        *((left, y, x, top), (x, y, right, top)),
    )
    return np.stack([np.stack(corner, -1) for corner in corners], 1).reshape(-1, 4)


def _valid(polygons: ndarray) -> ndarray:
    broken = ~shapely.is_valid(polygons)
    if not broken.any():
        return polygons
    mended = polygons.copy()
    mended[broken] = shapely.make_valid(polygons[broken])
    return mended
