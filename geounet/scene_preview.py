"""A picture of a finished job, from a decimated image and mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.enums import Resampling

from geounet.grid import Grid
from geounet.outputs import Results
from geounet.preview import Preview, write_preview
from geounet.scene import Scene, open_scene
from geounet.scene_options import SceneOptions

LONGEST_SIDE = 1000
DRAWN_AS = (("swir1", "nir", "green"), ("nir", "red", "green"), ("red", "green", "blue"))
"""Band triplets as red, green, blue; the first that the scene has is drawn."""


def preview_scene(
    path: Path,
    scene: str | Path,
    results: Results,
    *,
    title: str,
    note: str = "",
    options: SceneOptions | None = None,
) -> None:
    """Draw image, mask and outlines of the first class that is not the background."""
    opened = open_scene(scene, options or SceneOptions())
    grid, step = opened.grid, _step(opened.grid)
    with rasterio.open(results.out / "mask.tif") as file:
        shape = tuple(-(-n // step) for n in grid.shape)
        labels = file.read(1, out_shape=shape, resampling=Resampling.nearest)
    image = _image(opened, step)
    picture = Preview(image, labels, results.legend, _outlines(results, grid, step), title, note)
    write_preview(path, picture)


def _step(grid: Grid) -> int:
    return max(1, -(-max(grid.shape) // LONGEST_SIDE))


def _image(scene: Scene, step: int) -> np.ndarray:
    """Every ``step``-th pixel of three bands, read in strips so that memory stays small."""
    have = {band.name for band in scene.bands}
    wanted = next((t for t in DRAWN_AS if have.issuperset(t)), (scene.bands[0].name,))
    chosen, (rows, cols) = scene.select(wanted), scene.grid.shape
    strips = []
    for row in range(0, rows, step):
        pixels = chosen.read((slice(row, row + 1), slice(0, cols)))
        values = np.where(pixels.valid[..., None], pixels.bands, np.nan)
        strips.append(values[:, ::step])
    return np.concatenate(strips)


def _outlines(results: Results, grid: Grid, step: int) -> np.ndarray:
    """Polygons of all classes but the first, in the picture's pixels."""
    vectors = [file for file in results.files if file.stem == "features"]
    if not vectors:
        return np.empty(0, object)
    frame = pyogrio.read_dataframe(vectors[0], columns=["class_id"], layer=0)
    shapes = frame.geometry[frame.class_id != results.legend[0].value].to_numpy()
    to_pixels = ~grid.transform
    return shapely.transform(
        shapes, lambda xy: np.stack(to_pixels @ (xy[:, 0], xy[:, 1]), axis=-1) / step
    )
