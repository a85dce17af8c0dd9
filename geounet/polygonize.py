"""Regions of one class become polygons with attributes.

A region is a 4-connected component of pixels of equal class: with 8-connectivity, polygons would
touch themselves. How it is done, at any size, is in `geounet.polygons`; here is the way in for
labels that are in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import isnan, sqrt
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from geounet.errors import SettingsError
from geounet.features import Features
from geounet.grid import Grid, Window
from geounet.polygon_array import shapely_of
from geounet.polygons.clean import Cleaning, decide
from geounet.polygons.collect import Choice, Collector
from geounet.polygons.cracks import VOID
from geounet.polygons.lattice import SIDE, Labels, Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.store import Memory
from geounet.polygons.survey import relabelled
from geounet.polygons.thin import Thinning
from geounet.polygons.trace import Tracer
from geounet.vector_settings import Amount

__all__ = ["Features", "PolygonOptions", "polygonize"]


@dataclass(frozen=True)
class PolygonOptions:
    """What becomes a polygon: every option at its default keeps every region as it is.

    Args:
        nodata: the label that gives no polygon.
        classes: the class values to keep; None keeps all.
        min_area: regions below it are dropped, and leave a hole.
        absorb: True if they join a neighbour instead.
        fill_holes: enclosed regions that together are below it join the region around them.
        simplify: how far simplifying may move a border; borders stay shared.
        method: how simplifying ranks corners.
        smooth: times that corners are cut.
        outline: True if borders to no data and to the scene's outside are changed too.
        split: True if features end at the lines of the lattice, every 2,048 pixels.
        max_features: the most that there may be.
        max_vertices: the most that one may have.
    """

    nodata: int | None = 255
    classes: tuple[int, ...] | None = None
    min_area: Amount | None = None
    absorb: bool = False
    fill_holes: Amount | None = None
    simplify: Amount | None = None
    method: Literal["douglas-peucker", "visvalingam"] = "douglas-peucker"
    smooth: int = 0
    outline: bool = False
    split: bool = False
    max_features: int | None = None
    max_vertices: int | None = None

    @property
    def choice(self) -> Choice:
        """Which regions become features."""
        dropped = None if self.absorb else self.min_area
        return Choice(self.classes, dropped, self.max_features, self.max_vertices)

    @property
    def cleaning(self) -> Cleaning | None:
        """What joins a neighbour, if anything does."""
        absorbed = self.min_area if self.absorb else None
        if absorbed is None and self.fill_holes is None:
            return None
        return Cleaning(absorbed, self.fill_holes)

    def thinning(self, measures: Measures) -> Thinning:
        """What is done to borders, in pixels.

        Raises:
            SettingsError: if a tolerance in metres has no meaning there.
        """
        tolerance = 0.0
        if self.simplify is not None:
            tolerance = self.simplify.pixels(sqrt(measures.pixel_area.typical))
            if isnan(tolerance):
                raise SettingsError(
                    "the middle of the scene lies outside its CRS's domain, so that metres cannot "
                    "be told in pixels; give --simplify in pixels, as in 1px"
                )
        return Thinning(tolerance, self.method, self.smooth, self.outline, self.split)


def polygonize(
    labels: Int[ndarray, "row col"],
    grid: Grid,
    options: PolygonOptions | None = None,
    confidence: UInt8[ndarray, "row col"] | None = None,
    side: int = SIDE,
) -> Iterator[Features]:
    """The features of a mask, in batches, ordered by the last pixel of their regions.

    Without options the polygons, rasterised, are the mask again, and the areas of a class's
    features add up to the area of its pixels.

    Args:
        labels: class values.
        grid: where the pixels lie; ``labels`` has its shape.
        options: which regions are kept and how they are drawn.
        confidence: 0 to 100, 255 where there is none.
        side: pixels along a cell of the lattice; only simplified borders depend on it.

    Raises:
        ValueError: if ``labels`` do not lie on the grid.
        SettingsError: if there are more features, or larger ones, than the options allow.
    """
    options = options or PolygonOptions()
    if labels.shape != grid.shape:
        raise ValueError(f"labels of {labels.shape} pixels do not lie on a grid of {grid.shape}")
    measures, lattice, store = Measures(grid), Lattice(grid.shape, side), Memory()
    thinning = options.thinning(measures)
    tracer = Tracer(
        reader_of(labels, options.nodata),
        measures,
        lattice,
        thinning,
        confidence.__getitem__ if confidence is not None else None,
    )

    cells = range(lattice.rows * lattice.cols)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if options.cleaning is not None:
            tracer = _cleaned(tracer, options.cleaning, pool)
        for cell, traced in zip(cells, pool.map(tracer, cells), strict=True):
            store.put(cell, traced)
    collector = Collector(store, lattice, measures, options.choice, thinning.scale)
    for features in collector.features():
        yield replace(features, polygon=shapely_of(features.polygon))


def _cleaned(tracer: Tracer, cleaning: Cleaning, pool: ThreadPoolExecutor) -> Tracer:
    """The tracer of the cleaned labels."""
    lattice = tracer.lattice
    cells = range(lattice.rows * lattice.cols)
    surveys = list(pool.map(tracer.survey, cells))
    new, _ = decide(surveys, lattice, tracer.measures, cleaning)
    labels = np.empty(lattice.shape, np.int32)
    for cell in cells:
        labels[lattice.window(cell)] = relabelled(tracer.pixels(cell), new[cell])
    return replace(tracer, labels=labels.__getitem__)


def reader_of(labels: Int[ndarray, "row col"], nodata: int | None) -> Labels:
    """Reads windows of an array as the tracer wants them."""

    def read(window: Window) -> ndarray:
        part = labels[window].astype(np.int32)
        if nodata is not None:
            part[labels[window] == nodata] = VOID
        return part

    return read
