"""Whether a model and a scene fit, and how the scene's numbers reach the model's unit."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from geounet.area import PixelArea
from geounet.card import ModelCard
from geounet.errors import ModelError
from geounet.grid import Grid
from geounet.scene import Scene

MARGIN = 2.0
"""A model is used up to this factor outside the pixel sizes that it was trained for."""


@dataclass(frozen=True)
class Fit:
    """A scene's bands in the model's order, their scaling, and what the user should know."""

    scene: Scene
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    notes: tuple[str, ...]


def fit(scene: Scene, card: ModelCard, strict: bool = False) -> Fit:
    """Match a scene to a model.

    Raises:
        ModelError: if a band is missing; with ``strict``, also where there would be a note.
    """
    chosen = scene.select(card.bands)
    doubts = [*_pixel_size_doubt(chosen.grid, card), *_level_doubt(scene, card)]
    unknown = [b.name for b in chosen.bands if b.scale is None or b.offset is None]
    if unknown:
        doubts.append(
            f"{scene.name}: no scaling is known for {', '.join(unknown)}; taken as the model's own "
            f"({card.unit} = number × {card.scale:g} + {card.offset:g}); "
            "state yours with --scale and --offset"
        )
    if strict and doubts:
        raise ModelError(f"{doubts[0]} (refused by --strict)")
    return Fit(
        chosen,
        tuple(card.scale if b.scale is None else b.scale for b in chosen.bands),
        tuple(card.offset if b.offset is None else b.offset for b in chosen.bands),
        (*scene.notes, *doubts),
    )


def _pixel_size_doubt(grid: Grid, card: ModelCard) -> list[str]:
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


def _level_doubt(scene: Scene, card: ModelCard) -> list[str]:
    if scene.level is None or scene.level == card.level:
        return []
    return [
        f"the scene is {scene.level}; the model {card.name} was trained on {card.level}: "
        "haze and dark shadows may be mistaken for its classes"
    ]
