"""A scene: one image on Earth, whose bands may lie in several files and resolutions.

It is opened from headers alone and read window by window; it holds no open file, so that it can be
sent to any thread or process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from geounet.bands import Band, make_bands, tag_of
from geounet.errors import InputError, ModelError
from geounet.fingerprint import fingerprint_of
from geounet.grid import Grid, Window, intersect, shape_of, shift
from geounet.masks import Mask, find_mask, hidden_by
from geounet.products import Product, find_product
from geounet.raster import Raster, read_header
from geounet.resample import (
    Part,
    dtype_on,
    overlap,
    placement,
    read_on,
    resized,
    scale_between,
)
from geounet.scene_options import SceneOptions
from geounet.sensors import DATE_TAG, canonical, readings
from geounet.transfer import Access


@dataclass(frozen=True)
class Pixels:
    """What a window holds.

    ``bands`` is ``(row, col, band)``, 0 where there is no data. ``valid`` ``(row, col)`` is True
    where all bands have data and no mask hides it; ``hidden`` where only a mask takes it away, so
    that ``bands`` still has its numbers.
    """

    bands: np.ndarray
    valid: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Scene:
    """``scene.read(window)`` equals the window of ``scene.read(scene.grid.whole)``, bit for bit.

    The grid is that of the finest band (but the panchromatic) of the whole scene; ``select`` keeps
    it. ``notes`` are things to tell the user.
    """

    name: str
    grid: Grid
    bands: tuple[Band, ...]
    masks: tuple[Mask, ...] = ()
    mask_dilate: int = 0
    resampling: str = "bilinear"
    sensor: str | None = None
    level: str | None = None
    date: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All files that ``read`` reads, in order, each once."""
        masks = (m.raster.file for m in self.masks)
        return tuple(dict.fromkeys((*(b.file for b in self.bands), *masks)))

    @property
    def dtype(self) -> np.dtype:
        """The type of ``read(…).bands``: the files' own where they share it."""
        return np.result_type(*(dtype_on(part, self.grid) for part in self._parts))

    @property
    def _parts(self) -> list[Part]:
        """The bands by file, each file once."""
        groups: dict[Raster, list[Band]] = {}
        for band in self.bands:
            groups.setdefault(band.raster, []).append(band)
        return [
            Part(raster, tuple(b.index for b in g), tuple(b.nodata for b in g), self.resampling)
            for raster, g in groups.items()
        ]

    def select(self, names: Sequence[str]) -> Scene:
        """Only these bands, in this order; the grid stays.

        Raises:
            InputError: if a name could only be met by a band id of an unknown sensor.
            ModelError: naming both lists, if a band is missing.
        """
        found = [self._find(name) for name in names]
        missing = [n for n, b in zip(names, found, strict=True) if b is None]
        have = ", ".join(b.name for b in self.bands)
        if missing and self.sensor is None:
            self._refuse_ambiguous(missing)
        if missing:
            raise ModelError(
                f"{self.name}: has no band {', '.join(missing)}; asked for {', '.join(names)}; "
                f"there are {have}; say which is which with --band {missing[0]}=…"
            )
        return replace(self, bands=tuple(b for b in found if b is not None))

    def _find(self, name: str) -> Band | None:
        exact = (b for b in self.bands if canonical(b.name) == canonical(name))
        return next(exact, None) or next((b for b in self.bands if b.answers_to(name)), None)

    def _refuse_ambiguous(self, missing: list[str]) -> None:
        for band in self.bands:
            meant = readings(band.name)
            if meant and any(canonical(m) in meant.values() for m in missing):
                what = ", ".join(f"{name} on {sensor}" for sensor, name in meant.items())
                raise InputError(
                    f"{self.name}: band {band.name} is of an unknown sensor: {what}; asked for "
                    f"{', '.join(missing)}: say --sensor, or --band {missing[0]}=…"
                )

    def read(self, window: Window) -> Pixels:
        """The window's pixels; outside the scene they are 0 and not valid.

        Raises:
            InputError: if a file cannot be read there.
        """
        inside = intersect(window, self.grid.whole)
        if inside is None:
            nothing = np.zeros(shape_of(window), bool)
            return Pixels(np.zeros((*nothing.shape, len(self.bands)), self.dtype), nothing, nothing)
        bands, valid = self._read_bands(inside)
        hidden = np.zeros_like(valid)
        for mask in self.masks:
            hidden |= hidden_by(mask, self.grid, inside, self.mask_dilate)
        hidden &= valid
        if not valid.all():
            bands[~valid] = 0
        return _framed(Pixels(bands, valid & ~hidden, hidden), inside, window)

    def _read_bands(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and validity of a window inside the grid."""
        parts = self._parts
        if len(parts) == 1:
            return read_on(parts[0], self.grid, window)
        bands = np.empty((*shape_of(window), len(self.bands)), self.dtype)
        valid = np.ones(shape_of(window), bool)
        for part in parts:
            numbers, good = read_on(part, self.grid, window)
            places = [k for k, b in enumerate(self.bands) if b.raster == part.raster]
            for k, place in enumerate(places):
                bands[..., place] = numbers[..., k]
            valid &= good
        return bands, valid

    def fingerprint(self) -> dict[str, object]:
        """What ``--resume`` compares: files, bands, masks and grid, without any path.

        Raises:
            InputError: if a file cannot be read.
        """
        rasters = dict.fromkeys((*(b.raster for b in self.bands), *(m.raster for m in self.masks)))
        order = {raster: k for k, raster in enumerate(rasters)}
        return {
            "files": [fingerprint_of(raster) for raster in rasters],
            "bands": [
                [b.name, order[b.raster], b.index, b.scale, b.offset, b.nodata] for b in self.bands
            ],
            "masks": [[order[m.raster], m.band, list(m.values), list(m.bits)] for m in self.masks],
            "mask_dilate": self.mask_dilate,
            "resampling": self.resampling,
            "grid": [list(self.grid.shape), [float(v) for v in tuple(self.grid.transform)[:6]]],
            "crs": self.grid.crs.to_wkt(),
        }

    def describe(self) -> dict[str, Any]:
        """Plain values for ``geounet inspect``."""
        height, width = self.grid.pixel_size
        return {
            "name": self.name,
            "sensor": self.sensor,
            "level": self.level,
            "date": self.date,
            "rows": self.grid.shape[0],
            "columns": self.grid.shape[1],
            "pixel_size": [height, width],
            "crs": self.grid.crs.to_string(),
            "corners": [list(map(float, xy)) for xy in self.grid.corners],
            "dtype": self.dtype.name,
            "bands": [_describe(b, self.grid) for b in self.bands],
            "masks": [_describe_mask(m) for m in self.masks],
            "mask_dilate": self.mask_dilate,
            "notes": list(self.notes),
        }


def _describe(band: Band, grid: Grid) -> dict[str, object]:
    height, width = band.raster.grid.pixel_size
    return {
        "name": band.name,
        "also": list(band.aliases),
        "description": band.description,
        "file": band.raster.shown,
        "band": band.index,
        "dtype": band.dtype,
        "scale": band.scale,
        "offset": band.offset,
        "nodata": band.nodata,
        "pixel_size": [height, width],
        "resampled": placement(grid, band.raster.grid) is None,
    }


def _describe_mask(mask: Mask) -> dict[str, object]:
    kind = {"values": list(mask.values)} if mask.values else {"bits": list(mask.bits)}
    return {"file": mask.raster.shown, "band": mask.band} | kind


def _framed(pixels: Pixels, inside: Window, window: Window) -> Pixels:
    """The pixels set into a window that may hang over the scene's edges."""
    if inside == window:
        return pixels
    target = shift(inside, window)
    framed = [
        np.zeros((*shape_of(window), *a.shape[2:]), a.dtype)
        for a in (pixels.bands, pixels.valid, pixels.hidden)
    ]
    for frame, part in zip(framed, (pixels.bands, pixels.valid, pixels.hidden), strict=True):
        frame[target] = part
    return Pixels(*framed)


def open_scene(
    source: str | Path, options: SceneOptions | None = None, *, patches: bool = False
) -> Scene:
    """A scene from its headers: no pixel is read.

    Args:
        source: a raster, a Sentinel-2 .SAFE, Landsat or HLS folder, a folder of bands, or a
            scene.yaml; or an https:// or s3:// address of a raster.
        options: what the scene's own metadata does not say.
        patches: open PNG and images without georeferencing too, as training does.

    Raises:
        InputError: if a file cannot be read or trusted, or its numbers cannot be scaled.
        SettingsError: if an option does not fit the scene.
    """
    options = options or SceneOptions()
    product = find_product(source, options)

    access = Access(options.allow_private, options.read_deadline)
    crs, vrt = options.assume_crs, options.allow_vrt
    read = partial(read_header, assume_crs=crs, allow_vrt=vrt, patches=patches, access=access)
    header = cache(read)
    bands, notes = make_bands(product, options, header)
    grid = _reference_grid(product, bands, options)
    rules = (*product.extra_masks, *options.mask)
    return Scene(
        name=product.name,
        grid=grid,
        bands=bands,
        masks=tuple(
            find_mask(rule, product, bands, header, options.allow_private) for rule in rules
        ),
        mask_dilate=options.mask_dilate,
        resampling=options.resampling,
        sensor=product.sensor,
        level=product.level,
        date=product.date or tag_of(bands, DATE_TAG),
        notes=(*product.notes, *notes),
    )


def _reference_grid(product: Product, bands: tuple[Band, ...], options: SceneOptions) -> Grid:
    """The finest grid of the bands; of equally fine ones the first."""
    grids = list(dict.fromkeys(b.raster.grid for b in bands if b.name != "pan"))
    grids = grids or [bands[0].raster.grid]
    fineness = [x * y for x, y in (scale_between(g, grids[0]) for g in grids)]
    # Rounding must not let the order of equals hang on the last bit.
    grid = next(g for g, f in zip(grids, fineness, strict=True) if f <= min(fineness) * 1.0001)
    if options.resolution is not None:
        grid = resized(grid, options.resolution)
    pixels = grid.shape[0] * grid.shape[1]
    if pixels > options.max_pixels:
        raise InputError(
            f"{product.name}: has {pixels:,} pixels, more than --max-pixels {options.max_pixels:,};"
            f" raise that if you mean it, or cut the scene with `gdal_translate -projwin`"
        )
    for band in bands:
        if not overlap(band.raster.grid, grid):
            raise InputError(
                f"{band.raster.shown}: does not overlap the rest of {product.name}; check that the "
                f"files show the same place"
            )
    return grid
