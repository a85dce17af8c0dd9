"""Scenes and models for benchmarks: made here, so that anybody can measure the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter

from geounet.card import Architecture
from geounet.model_file import save_model
from tests.nets import card_of, random_net

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
PATTERN = 2048


def make_scene(path: Path, side: int) -> Path:
    """``side``² pixels of six uint16 bands: deflate, 512 blocks, about half its size on disk.

    Terrain-like noise of several scales with sensor noise on top, written block row by block row.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.stack([_pattern(seed) for seed in range(len(BANDS))])
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": len(BANDS), "dtype": "uint16",
        "crs": "EPSG:32633", "transform": Affine(10, 0, 300_000, 0, -10, 5_800_000), "nodata": 0,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
        "predictor": 2, "interleave": "pixel", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    part = path.with_suffix(".part.tif")
    with rasterio.open(part, "w", **profile) as file:
        for index, name in enumerate(BANDS, start=1):
            file.set_band_description(index, name)
        for row in range(0, side, 512):
            rows = (row + np.arange(min(512, side - row))) % PATTERN
            cols = np.arange(side) % PATTERN
            strip = pattern[:, rows][:, :, cols]
            file.write(strip, window=((row, row + len(rows)), (0, side)))
    part.rename(path)
    return path


def _pattern(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = [
        gaussian_filter(rng.normal(size=(PATTERN, PATTERN)), sigma, mode="wrap") * sigma
        for sigma in (2, 8, 32)
    ]
    relief = np.add.reduce(layers)
    noise = rng.normal(0, 12, (PATTERN, PATTERN))
    return np.clip(1200 + 500 * relief / relief.std() + noise, 1, 9000).astype(np.uint16)


def make_model(path: Path, base_filters: int = 32, depth: int = 4, outputs: int = 4) -> Path:
    """A U-Net with drawn weights over six bands."""
    arch = Architecture(
        bands=len(BANDS), outputs=outputs, depth=depth, base_filters=base_filters,
        batch_norm=False, dropout=0.0,
    )  # fmt: skip
    card = card_of(arch, bands=BANDS, mean=(0.12,) * 6, std=(0.06,) * 6)
    save_model(path, random_net(arch), card, "float32")
    return path
