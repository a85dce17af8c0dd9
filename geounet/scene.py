"""A scene: one image on Earth, whose bands may lie in several files and resolutions.

It is opened from headers alone and read window by window; it holds no open file, so that it can be
sent to any thread or process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geounet.errors import InputError, ModelError
from geounet.grid import Grid, Window, intersect, shape_of, shift
from geounet.locations import locate, shown
from geounet.raster import Raster, read_header
from geounet.resample import Part, dtype_on, read_on
from geounet.scene_options import SceneOptions


@dataclass(frozen=True)
class Band:
    """One layer of a scene: ``physical = number * scale + offset``; None where nobody says."""

    name: str
    description: str
    raster: Raster
    index: int
    scale: float | None
    offset: float | None
    nodata: float | None

    @property
    def file(self) -> str:
        return self.raster.file

    @property
    def dtype(self) -> str:
        return self.raster.dtypes[self.index - 1]


@dataclass(frozen=True)
class Pixels:
    """What a window holds.

    ``bands`` is ``(row, col, band)``, 0 where there is no data; ``valid`` ``(row, col)`` is True
    where all bands have data and no mask hides it; ``hidden`` where only a mask takes it away.
    """

    bands: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Scene:
    """``scene.read(window) == scene.read(scene.grid.whole)[window]``, bit for bit."""

    name: str
    grid: Grid
    bands: tuple[Band, ...]
    sensor: str | None = None
    level: str | None = None
    date: str | None = None
    notes: tuple[str, ...] = ()
    resampling: str = "bilinear"

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(b.file for b in self.bands))

    def select(self, names: tuple[str, ...] | list[str]) -> Scene:
        """Only these bands, in this order.

        Raises:
            ModelError: naming both lists, if one is missing.
        """
        have = {b.name: b for b in reversed(self.bands)}
        missing = [n for n in names if n not in have]
        if missing:
            raise ModelError(
                f"{self.name}: has no band {', '.join(missing)}; asked for {', '.join(names)}, and "
                f"there are {', '.join(b.name for b in self.bands)}; say which with --band"
            )
        return replace(self, bands=tuple(have[n] for n in names))

    def read(self, window: Window) -> Pixels:
        """The window's pixels; outside the scene they are 0 and not valid.

        Raises:
            InputError: if a file cannot be read there.
        """
        inside = intersect(window, self.grid.whole)
        parts = [Part(*p, self.resampling) for p in _by_file(self.bands)]
        dtype = np.result_type(*(dtype_on(p, self.grid) for p in parts))
        bands = np.zeros((*shape_of(window), len(self.bands)), dtype)
        valid = np.zeros(shape_of(window), bool)
        hidden = np.zeros(shape_of(window), bool)
        if inside is not None:
            target = shift(inside, window)
            values, good = _read_parts(self.bands, parts, self.grid, inside)
            bands[target], valid[target] = values, good
        return Pixels(bands, valid, hidden)


def _by_file(bands: tuple[Band, ...]) -> list[tuple[Raster, tuple[int, ...], tuple]]:
    rasters = dict.fromkeys(b.raster for b in bands)
    return [
        (
            r,
            tuple(b.index for b in bands if b.raster == r),
            tuple(b.nodata for b in bands if b.raster == r),
        )
        for r in rasters
    ]


def _read_parts(bands, parts, grid, window):
    read = [read_on(p, grid, window) for p in parts]
    valid = np.logical_and.reduce([v for _, v in read])
    if len(parts) == 1:
        return np.where(valid[..., None], read[0][0], 0), valid
    spot = {(p.raster, i): (n, k) for n, p in enumerate(parts) for k, i in enumerate(p.indexes)}
    layers = [read[n][0][..., k] for n, k in (spot[b.raster, b.index] for b in bands)]
    return np.where(valid[..., None], np.stack(layers, axis=2), 0), valid


def open_scene(source: str | Path, options: SceneOptions = SceneOptions()) -> Scene:
    """A scene from its headers: no pixel is read.

    Raises:
        InputError: if a file cannot be read or trusted.
    """
    file = locate(source)
    raster = read_header(file, assume_crs=options.assume_crs, allow_vrt=options.allow_vrt)
    for i in raster.bands:
        if raster.faults[i - 1]:
            raise InputError(f"{raster.shown}: band {i} {raster.faults[i - 1]}")
    bands = tuple(
        Band(
            raster.descriptions[i - 1].lower() or f"band{i}",
            raster.descriptions[i - 1],
            raster,
            i,
            options.scale,
            options.offset,
            options.nodata if options.nodata is not None else raster.nodata[i - 1],
        )
        for i in raster.bands
    )
    stem = Path(shown(file)).stem
    return Scene(re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "scene", raster.grid, bands)
