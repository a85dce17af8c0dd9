"""What the population is: pixels and square metres of each class, counted strip by strip.

The population is what the map has a class for. No data, and what a cloud mask hid, are outside it,
since nothing can be drawn there. Areas add up row by row, and the digest takes the pixels in raster
order, so that neither depends on how many rows a strip has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from geounet.area import PixelArea
from geounet.assess.class_map import ClassMap, same_grid
from geounet.errors import InputError
from geounet.reporting import Reporter

MOST_CLASSES = 1024
STRIP_PIXELS = 2**20
"""About how many pixels are in memory together."""
_DENSE = 4096
_NOTHING = np.iinfo(np.int32).min


@dataclass(frozen=True)
class Strip:
    """Some whole rows of a population: the values that matter, and the pixels' square metres."""

    rows: slice
    values: Int[ndarray, "row col"]
    area: Float[ndarray, "row col"]
    inside: Bool[ndarray, "row col"]


@dataclass(frozen=True)
class Population:
    """The pixels that a sample speaks for: valid in every map, with an area.

    ``maps[-1]`` has the values that count: the map itself, or the strata over it.
    """

    maps: tuple[ClassMap, ...]

    def strips(self, pixels: int = STRIP_PIXELS) -> Iterator[Strip]:
        """From top to bottom, in whole rows: pixels come in raster order however many those are."""
        grid = self.maps[0].grid
        areas, step = PixelArea(grid), max(1, pixels // grid.shape[1])
        with ExitStack() as stack:
            # Left open: GDAL then decodes a block once, and not for every strip that it is part of.
            files = [stack.enter_context(m.raster.open()) for m in self.maps]
            for start in range(0, grid.shape[0], step):
                rows = slice(start, min(start + step, grid.shape[0]))
                parts = [m.read(data, rows) for m, data in zip(self.maps, files, strict=True)]
                area = areas.window((rows, slice(0, grid.shape[1])))
                inside = np.logical_and.reduce([valid for _, valid in parts])
                yield Strip(rows, parts[-1][0], area, inside & np.isfinite(area))


@dataclass(frozen=True)
class Census:
    """Pixels and square metres of each value, what lies outside, and a digest of the whole."""

    values: tuple[int, ...]
    pixels: tuple[int, ...]
    areas: tuple[float, ...]
    outside_pixels: int
    outside_area: float
    digest: str

    @property
    def total(self) -> float:
        return sum(self.areas)


def population_of(*maps: ClassMap) -> Population:
    """The pixels that all of the maps have a value for.

    Raises:
        InputError: if they do not share a grid.
    """
    for other in maps[1:]:
        same_grid(maps[0], other)
    return Population(maps)


def count(population: Population, reporter: Reporter, pixels: int = STRIP_PIXELS) -> Census:
    """One pass over the population.

    Raises:
        InputError: if it holds measurements rather than classes, or nothing at all.
    """
    name = population.maps[-1].raster.shown
    shape = population.maps[0].grid.shape
    found: dict[int, tuple[int, float]] = {}
    digest, outside, outside_area = hashlib.sha256(), 0, 0.0
    reporter.start("counting", shape[0] * shape[1], 0)
    for strip in population.strips(pixels):
        digest.update(np.where(strip.inside, strip.values, _NOTHING).astype("<i4").tobytes())
        for values, area, inside in zip(strip.values, strip.area, strip.inside, strict=True):
            _add_row(found, values[inside], area[inside])
            outside_area += float(np.nansum(area[~inside]))
        outside += int((~strip.inside).sum())
        if len(found) > MOST_CLASSES:
            raise InputError(
                f"{name}: has more than {MOST_CLASSES} different values: it holds measurements, "
                "not classes; reclassify it first"
            )
        reporter.advance(strip.inside.size)
    reporter.finish()
    if not found:
        raise InputError(f"{name}: has no pixel with a class; is its no-data value right?")
    values = tuple(sorted(found))
    sums = [found[v] for v in values]
    return Census(
        values,
        tuple(n for n, _ in sums),
        tuple(area for _, area in sums),
        outside,
        outside_area,
        digest.hexdigest(),
    )


def _add_row(found: dict[int, tuple[int, float]], values: ndarray, areas: ndarray) -> None:
    if not values.size:
        return
    low = int(values.min())
    if int(values.max()) - low < _DENSE:
        present, index = None, values - low
    else:
        present, index = np.unique(values, return_inverse=True)
    counts, sums = np.bincount(index), np.bincount(index, weights=areas)
    for place in np.flatnonzero(counts).tolist():
        value = place + low if present is None else int(present[place])
        n, area = int(counts[place]), float(sums[place])
        before = found.get(value, (0, 0.0))
        found[value] = (before[0] + n, before[1] + area)
