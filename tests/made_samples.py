"""Small class maps, samples of them, and an interpreter who knows the truth."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio

from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.settings import DesignSettings
from geounet.style import MapClass, pam_xml
from tests.jobs import GRIDS, smooth

NAMES = ("water", "forest", "bare")
SHAPE = (120, 161)


def write_map(path: Path, values, grid="north-up", names=NAMES, nodata=255, **profile) -> Path:
    transform, crs = GRIDS[grid] if isinstance(grid, str) else grid
    rows, cols = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=1, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata, **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
    classes = [MapClass(value, name, "#000000") for value, name in enumerate(names)]
    Path(f"{path}.aux.xml").write_text(pam_xml(classes))
    return path


def map_values(shape=SHAPE, seed=3):
    values = np.digitize(smooth(shape, seed), [800, 2100]).astype(np.uint8)
    values[:7, :11] = 255
    return values


def true_values(values, seed=0, share=0.1):
    """What a perfect interpreter sees: other than the map on a tenth of the pixels."""
    rng = np.random.default_rng(seed)
    truth = values.copy()
    wrong = (rng.random(values.shape) < share) & (values != 255)
    truth[wrong] = rng.integers(0, 3, wrong.sum())
    return truth


def interpret(points: Path, truth, names=NAMES, skip=()) -> gpd.GeoDataFrame:
    """Fills in the field of every point but those to skip, and saves the layer as a GIS would."""
    at = {p.id: (p.row, p.col) for p in read_design(design_path(points)).points}
    frame = pyogrio.read_dataframe(points, layer="points")
    frame["class"] = [None if i in skip else names[truth[at[i]]] for i in frame["id"]]
    save(points, frame)
    return frame


def save(points: Path, frame) -> None:
    pyogrio.write_dataframe(frame, points, layer="points", driver="GPKG")


def drawn(tmp_path, values=None, grid="north-up", **settings) -> tuple[Path, Path, np.ndarray]:
    values = map_values() if values is None else values
    source = write_map(tmp_path / "map.tif", values, grid)
    settings = {"size": 300, "at_least": 20, **settings}
    design_sample(source, tmp_path / "sample.gpkg", DesignSettings(**settings))
    return source, tmp_path / "sample.gpkg", values
