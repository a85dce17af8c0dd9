"""Small scenes and models for whole jobs, made when a test runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine
from rasterio import warp
from rasterio.crs import CRS
from scipy.ndimage import gaussian_filter

from geounet.model_file import save_model
from tests.made_scenes import write
from tests.nets import architecture, card_of, random_net

UTM = CRS.from_epsg(32633)
GRIDS = {
    "north-up": (Affine(10, 0, 500_030, 0, -10, 5_700_070), UTM),
    "rotated": (
        Affine.translation(500_030, 5_700_070) @ Affine.rotation(30) @ Affine.scale(10, -10),
        UTM,
    ),
    "south-up": (Affine(10, 0, 500_030, 0, 10, 5_700_070), UTM),
    "geographic": (Affine(1e-4, 0, 13.3, 0, -1e-4, 51.2), CRS.from_epsg(4326)),
    "polar": (Affine(25, 0, -200_000, 0, -25, 300_000), CRS.from_epsg(3031)),
}


def make_model(path: Path, depth: int = 2, outputs: int = 3, **changes) -> Path:
    """A drawn network of three bands whose reach is small, so that small scenes have many tiles."""
    arch = architecture(depth=depth, base_filters=4, bands=3, outputs=outputs)
    save_model(path, random_net(arch, seed=2), card_of(arch, **changes), "float32")
    return path


def smooth(shape, seed):
    """Smooth noise of 1 to 3000, so that masks have regions rather than grains."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    low, high = noise.min(), noise.max()
    return (1 + 2999 * (noise - low) / (high - low)).astype(np.uint16)


def make_scene(path: Path, shape=(86, 101), grid: str = "north-up", seed: int = 0) -> Path:
    """Three bands with a corner and a hole of no data."""
    bands = np.stack([smooth(shape, seed + k) for k in range(3)])
    bands[:, :9, :14] = 0
    bands[:, shape[0] // 2 : shape[0] // 2 + 6, 3:9] = 0
    transform, crs = GRIDS[grid]
    names = ("blue", "green", "red")
    write(path, bands, transform=transform, crs=crs, nodata=0, descriptions=names)
    return path


def make_mixed_scene(folder: Path, shape=(120, 176), reprojected: bool = False) -> Path:
    """Bands at 10, 20 and 60 m; ``reprojected`` puts the third into another CRS."""
    folder.mkdir(parents=True, exist_ok=True)
    corner = (500_040, 5_700_060)
    for name, size, seed in (("blue", 10, 0), ("green", 20, 1), ("red", 60, 2)):
        rows, cols = (-(-n * 10 // size) for n in shape)
        crs, transform = UTM, Affine(size, 0, corner[0], 0, -size, corner[1])
        if reprojected and name == "red":
            crs, rows, cols = CRS.from_epsg(3857), 60, 90
            (x,), (y,) = warp.transform(UTM, crs, [corner[0]], [corner[1]])
            transform = Affine(40, 0, x - 130, 0, -40, y + 90)
        band = smooth((rows, cols), seed)[None]
        write(folder / f"{name}.tif", band, transform=transform, crs=crs, nodata=0)
    text = {"name": "mixed", "scale": 1e-4, "offset": 0.0}
    bands = {name: f"{name}.tif" for name in ("blue", "green", "red")}
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump({**text, "bands": bands}))
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)
