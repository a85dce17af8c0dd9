"""Features for tests of files: by rasterio, so that no tracer of ours is tested with them."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import shapes

from geounet.area import HECTARE, PixelArea
from geounet.card import LandClass
from geounet.features import Features
from geounet.grid import Grid
from geounet.vector import VectorLayer

CLASSES = (
    LandClass(value=0, name="land", colour="#996633"),
    LandClass(value=1, name="wäter 水 & <reed>", colour="#3366cc"),
)
UTM = Grid((37, 53), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))
LAYER = VectorLayer(UTM, CLASSES)
SUFFIXES = (".gpkg", ".geojson", ".geojsonl", ".shp", ".shp.zip", ".fgb", ".parquet", ".pmtiles")


def mask_of(grid: Grid, seed: int = 3) -> np.ndarray:
    mask = np.random.default_rng(seed).choice(np.array([0, 0, 1, 255], np.uint8), grid.shape)
    return np.repeat(np.repeat(mask, 3, 0), 3, 1)[: grid.shape[0], : grid.shape[1]]


def features_of(grid: Grid = UTM, mask: np.ndarray | None = None) -> Features:
    """The regions of a mask, with a confidence that some of them do not have."""
    labels = mask_of(grid) if mask is None else mask
    hectare = PixelArea(grid).typical / HECTARE
    traced = shapes(labels, labels != 255, connectivity=4, transform=grid.transform)
    found = [(shapely.geometry.shape(outline), int(value)) for outline, value in traced]
    polygons = shapely.orient_polygons(shapely.normalize([polygon for polygon, _ in found]))
    pixel = abs(grid.transform.determinant)
    n_px = np.rint(shapely.area(polygons) / pixel).astype(np.int64)
    confidence = np.where(n_px % 7 == 0, np.nan, n_px % 101 / 100)
    return Features(
        polygons,
        np.array([value for _, value in found]),
        n_px,
        n_px * hectare,
        shapely.length(polygons),
        confidence,
        confidence / 2,
    )


def part_of(features: Features, part: slice) -> Features:
    columns = (getattr(features, name) for name in features.__dataclass_fields__)
    return Features(*(None if c is None else c[part] for c in columns))
