"""How far the scenes of two dates lie beside each other, from windows spread over both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

import numpy as np

from geounet.grid import Window
from geounet.scene import Scene
from geounet.shift import FARTHEST, Shift, shift_between

SIDE, SMALLEST, MOST = 256, 64, 6
"""Pixels along a window, the least where the scene has them; windows along a side of the scene."""
SURE = 7.0
"""Sharpness below which a window says nothing."""
FULL = 0.9
NEAR = 0.5
FEWEST, AGREE = 2, 0.6
_LIKED = ("red", "green", "nir", "swir1")
# ^ Land lasts in them; haze changes blue most.


@dataclass(frozen=True)
class SceneShift:
    """What windows say of the shift of a date against the first: down, right, in pixels.

    ``windows`` were compared, ``sharp`` of them had a peak, and ``agreeing`` is the share of those
    within half a pixel of their median, which the shift is.
    """

    scene: str
    band: str
    rows: float
    cols: float
    windows: int
    sharp: int
    agreeing: float

    @property
    def is_known(self) -> bool:
        return self.sharp >= FEWEST and self.agreeing >= AGREE

    @property
    def pixels(self) -> float:
        return hypot(self.rows, self.cols)

    def describe(self) -> dict[str, object]:
        """Plain values for the report."""
        known = self.is_known
        return {
            "scene": self.scene,
            "band": self.band,
            "known": known,
            "rows": round(self.rows, 2) if known else None,
            "columns": round(self.cols, 2) if known else None,
            "windows": self.windows,
            "sharp_windows": self.sharp,
            "agreeing": round(self.agreeing, 2),
        }

    def notes(self) -> tuple[str, ...]:
        """What the user should know of it."""
        said = f"{self.sharp} of {self.windows} windows tell, {self.agreeing:.0%} of them agree"
        if not self.is_known:
            return (
                f"{self.scene}: whether it lies on the first scene cannot be told ({said}); "
                "compare the two in a GIS: half a pixel makes change along every border",
            )
        if self.pixels <= NEAR:
            return ()
        return (
            f"{self.scene}: lies {self.pixels:.1f} pixels off the first scene ({self.rows:+.1f} "
            f"rows, {self.cols:+.1f} columns; {said}): change will be seen along borders that is "
            "none; bring it into place first, with gdal_translate -a_ullr",
        )


def scene_shift(first: Scene, other: Scene) -> SceneShift:
    """Compare one band of two scenes on one grid, a window at a time.

    Raises:
        InputError: if a file cannot be read.
    """
    names = [band.name for band in first.bands]
    name = next((n for n in _LIKED if n in names), names[0])
    at = names.index(name)
    pair = [s.select((s.bands[at].name,)) for s in (first, other)]
    found = [shift for window in _windows(first.grid.shape) for shift in _compared(pair, window)]
    sharp = [s for s in found if s.sharpness >= SURE]
    rows, cols = (float(np.median([s[k] for s in sharp])) if sharp else 0.0 for k in (0, 1))
    near = sum(hypot(s.rows - rows, s.cols - cols) <= NEAR for s in sharp)
    share = near / len(sharp) if sharp else 0.0
    return SceneShift(other.name, name, rows, cols, len(found), len(sharp), share)


def _compared(pair: list[Scene], window: Window) -> Iterator[Shift]:
    """Nothing where a date has holes: their outline does not move with the land."""
    dates = [scene.read(window) for scene in pair]
    good = dates[0].valid & dates[1].valid
    if good.mean() >= FULL:
        images = [d.bands[..., 0].astype(np.float64) for d in dates]
        yield shift_between(*(np.where(good, image, image[good].mean()) for image in images))


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Squares spread evenly over the scene, at least nine where it is large enough for one."""
    side = min(SIDE, max(SMALLEST, min(shape) // 2), *shape)
    if side < 4 * FARTHEST:
        return
    counts = [min(MOST, max(3, length // side)) for length in shape]
    rows, cols = (
        np.linspace(0, length - side, count).astype(int).tolist()
        for length, count in zip(shape, counts, strict=True)
    )
    for row in rows:
        for col in cols:
            yield (slice(row, row + side), slice(col, col + side))
