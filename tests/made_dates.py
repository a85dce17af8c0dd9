"""Small scenes of several dates, and a drawn model of two classes that knows them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.model_file import save_model
from tests.jobs import GRIDS, make_scene, smooth
from tests.made_scenes import write
from tests.nets import architecture, card_of, random_net

SHAPE = (70, 93)
SMALL = {"window": 64, "target": ("class 1",)}


def model_of_two(path: Path, seed: int = 5) -> Path:
    """Two classes told apart by one output; about half of a drawn scene is of either."""
    arch = architecture(depth=2, base_filters=4, bands=3, outputs=1)
    save_model(path, random_net(arch, seed), card_of(arch), "float32")
    return path


def dates(folder: Path, count: int = 2) -> list[Path]:
    """Scenes on one grid."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make_scene(folder / f"d{k}.tif", SHAPE, seed=10 * k) for k in range(count)]


def off_grid(path: Path, size: float = 13.0, shape=(60, 80), corner=(-60.0, 45.0)) -> Path:
    """A scene whose pixels are not those of the others, over most of the same ground."""
    transform, crs = GRIDS["north-up"]
    bands = np.stack([smooth(shape, 10 + k) for k in range(3)])
    moved = Affine(size, 0, transform.c + corner[0], 0, -size, transform.f + corner[1])
    names = ("blue", "green", "red")
    write(path, bands, transform=moved, crs=crs, nodata=0, descriptions=names)
    return path


def layer(path: Path, values: np.ndarray, **profile) -> Path:
    """One band on the scenes' grid."""
    transform, crs = GRIDS["north-up"]
    write(path, values[None], transform=transform, crs=crs, **profile)
    return path


def flooding(**settings) -> FloodSettings:
    return FloodSettings(**{**SMALL, **settings})


def clearing(**settings) -> DeforestationSettings:
    return DeforestationSettings(**{**SMALL, "min_area": None, **settings})
