"""Whether a model and a scene fit, and how the scene's numbers reach the model's unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from geounet.area import PixelArea
from geounet.bands import Band
from geounet.card import ModelCard, Stretch
from geounet.errors import ModelError
from geounet.grid import Grid
from geounet.scene import Scene
from geounet.scene_histogram import scene_bounds
from geounet.stretch import Bounds, to_unit

MARGIN = 2.0
"""A model is used up to this factor outside the pixel sizes that it was trained for."""


@dataclass(frozen=True)
class Fit:
    """A scene's bands in the model's order, their scaling, and what the user should know.

    ``scale`` and ``offset`` belong to the network's inputs: see ``stretched``.
    """

    scene: Scene
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    notes: tuple[str, ...]


def fit(scene: Scene, card: ModelCard, strict: bool = False) -> Fit:
    """Match a scene to a model.

    Raises:
        ModelError: if a band is missing, or its numbers cannot be scaled as the model's; with
            ``strict``, also where there would be a note.
    """
    chosen = scene.select(card.bands)
    doubts = [*_pixel_size_doubt(chosen.grid, card), *_level_doubt(scene, card)]
    doubts += [*_unwritten_doubt(chosen), *_scaling_doubt(chosen, card)]
    if strict and doubts:
        raise ModelError(f"{doubts[0]} (refused by --strict)")
    return Fit(
        chosen,
        tuple(card.scale if b.scale is None else b.scale for b in chosen.bands),
        tuple(card.offset if b.offset is None else b.offset for b in chosen.bands),
        (*scene.notes, *doubts),
    )


def stretched(fitted: Fit, card: ModelCard) -> Fit:
    """With the scaling of a model that has a display stretch; reads the whole scene once.

    Twice as many inputs as bands: the values, then the places between two percentiles of the
    scene. Numbers of 8 bits are taken as display values; any others are brought to those that the
    training scenes have at the same percentiles.
    """
    if card.stretch is None:
        return fitted
    s = card.stretch
    found = scene_bounds(fitted.scene, (s.low, s.high))
    places = [to_unit(low, high) for low, high in found]
    values, notes = list(zip(fitted.scale, fitted.offset, strict=True)), fitted.notes
    if fitted.scene.dtype != np.uint8:
        ends = zip(places, s.display, strict=True)
        values = [(g * (high - low), o * (high - low) + low) for (g, o), (low, high) in ends]
        notes = (*notes, _stretch_note(fitted.scene, found, s))
    scale, offset = zip(*values, *places, strict=True)
    return replace(fitted, scale=scale, offset=offset, notes=notes)


def _stretch_note(scene: Scene, found: Bounds, stretch: Stretch) -> str:
    ranges = ", ".join(
        f"{band.name} {low:g} to {high:g}"
        for band, (low, high) in zip(scene.bands, found, strict=True)
    )
    return (
        f"{scene.name}: not 8-bit display values; stretched by its percentiles {stretch.low:g} and "
        f"{stretch.high:g} ({ranges}) to those of the training scenes: expect more errors"
    )


def _pixel_size_doubt(grid: Grid, card: ModelCard) -> list[str]:
    if not grid.georeferenced:
        return []
    rows, cols = (n // 2 for n in grid.shape)
    centre = (slice(rows, rows + 1), slice(cols, cols + 1))
    metres = sqrt(float(PixelArea(grid).window(centre)[0, 0]))
    low, high = card.pixel_size
    if low / MARGIN <= metres <= high * MARGIN:
        return []
    return [
        f"the scene's pixels are about {metres:.3g} m; the model {card.name} was trained for "
        f"{low:g} to {high:g} m: expect errors, or resample with --resolution"
    ]


def _scaling_doubt(scene: Scene, card: ModelCard) -> list[str]:
    """Bands that say nothing of their scaling are taken as the model's, if they can be.

    Raises:
        ModelError: if they cannot.
    """
    unknown = [b for b in scene.bands if b.scale is None or b.offset is None]
    # A display stretch takes 8 bits as they are, and brings any others to the same places.
    if not unknown or card.stretch is not None:
        return []
    names = ", ".join(b.name for b in unknown)
    own = f"{card.unit} = number × {card.scale:g} + {card.offset:g}"
    other = [kind for b in unknown if (kind := _other_numbers(b, card))]
    if other:
        raise ModelError(
            f"{scene.name}: no scaling is known for {names}, and {other[0]} are not what the model "
            f"{card.name} was trained from ({own}); say --scale 1 --offset 0 if they are "
            f"{card.unit} already, or else their own --scale and --offset (for one scene of "
            "several, in its scene.yaml)"
        )
    return [
        f"{scene.name}: no scaling is known for {names}; taken as the model's own ({own}); "
        "state yours with --scale and --offset"
    ]


def _other_numbers(band: Band, card: ModelCard) -> str:
    """What kind of numbers a band has, if the model's scaling cannot be theirs; else ""."""
    dtype = np.dtype(band.raster.dtypes[band.index - 1])
    if dtype.kind == "f":
        return "floating-point numbers" if (card.scale, card.offset) != (1.0, 0.0) else ""
    low, high = (n * card.scale + card.offset for n in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    place = card.bands.index(band.name)
    reached = min(low, high) <= card.mean[place] <= max(low, high)
    return "" if reached else f"numbers of {8 * dtype.itemsize} bits"


def _unwritten_doubt(scene: Scene) -> list[str]:
    """A sparse file without a nodata value: its holes read as 0, which is a number like others."""
    shares = {b.name: b.raster.unwritten[b.index - 1] for b in scene.bands if b.nodata is None}
    holes = ", ".join(f"{share:.2%} of {name}" for name, share in shares.items() if share)
    if not holes:
        return []
    return [
        f"{scene.name}: blocks that were never written are mapped as if they held 0 ({holes}); "
        "if they are no data, write that with `gdal_edit.py -a_nodata 0 FILE`"
    ]


def _level_doubt(scene: Scene, card: ModelCard) -> list[str]:
    if scene.level is None or scene.level == card.level:
        return []
    return [
        f"the scene is {scene.level}; the model {card.name} was trained on {card.level}: "
        "haze and dark shadows may be mistaken for its classes"
    ]
