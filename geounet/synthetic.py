"""Made scenes of two dates with known truth: land, water, forest, fields, a flood or clearings.

What is drawn looks like land from above, but is none: it shows whether a job puts change where
change is, never how good a model is on Earth. Every file says that it was made, in its name and
its tags. Any window can be drawn alone, in its own memory: ``view(window) == view(whole)[window]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from geounet.grid import Grid, Window
from geounet.synthetic_noise import normal, smooth, uniform

Event = Literal["flood", "clearing"]
BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
WATER, FOREST, FIELD, BARE, CITY = range(5)
_SPECTRA = np.array(
    [
        (0.05, 0.06, 0.04, 0.02, 0.01, 0.01),
        (0.02, 0.04, 0.03, 0.28, 0.13, 0.06),
        (0.04, 0.08, 0.07, 0.32, 0.22, 0.13),
        (0.09, 0.13, 0.17, 0.25, 0.33, 0.28),
        (0.12, 0.14, 0.16, 0.21, 0.24, 0.22),
    ]
)
# ^ Surface reflectance of each kind of land in each band, as in textbooks.
CLOUD, SHADOW = 1, 2
SCALE = 1e-4
_FIELD, _PLOT = 24, 40


@dataclass(frozen=True)
class MadePair:
    """Two dates of made land.

    Args:
        grid: its pixels; 30 m or so look best.
        seed: the same gives the same pixels.
        event: what happened between the dates.
        clouds: share of the second date under clouds, about.
        haze: reflectance that haze adds to blue on the second date, less to longer waves.
    """

    grid: Grid
    seed: int = 0
    event: Event = "flood"
    clouds: float = 0.1
    haze: float = 0.02

    def land(self, window: Window, date: int) -> UInt8[ndarray, "row col"]:
        """The true kind of land of each pixel at a date, 0 or 1."""
        rows, cols = _places(window)
        height = self._height(rows, cols)
        forest = smooth(rows, cols, 90, self.seed + 1) + 0.4 * height > 0.2
        bare = uniform(rows // _FIELD, cols // _FIELD, self.seed + 2) < 0.3
        city = smooth(rows, cols, 60, self.seed + 3) - height > 2.1
        land = np.where(forest, FOREST, np.where(bare, BARE, FIELD))
        land = np.where(city, CITY, land)
        if date and self.event == "clearing":
            cleared = uniform(rows // _PLOT, cols // _PLOT, self.seed + 4) < 0.12
            ragged = smooth(rows, cols, 12, self.seed + 5) > -1.2
            land = np.where((land == FOREST) & cleared & ragged, BARE, land)
        level = 0.3 if date and self.event == "flood" else 0.0
        land = np.where(self._above_water(rows, cols, height) < level, WATER, land)
        return land.astype(np.uint8)

    def sky(self, window: Window, date: int) -> UInt8[ndarray, "row col"]:
        """0 clear, 1 cloud, 2 shadow of a cloud; the first date is clear."""
        rows, cols = _places(window)
        if not date or self.clouds <= 0:
            return np.zeros((len(rows), len(cols)), np.uint8)
        cloud = self._cloud(rows, cols)
        shadow = self._cloud(rows - 14, cols - 9)
        return np.where(cloud, CLOUD, np.where(shadow, SHADOW, 0)).astype(np.uint8)

    def missing(self, window: Window, date: int) -> Bool[ndarray, "row col"]:
        """Where a date has no data: wedges at the edge of the swath."""
        rows, cols = _places(window)
        height, width = self.grid.shape
        down, right = rows[:, None] / height, cols[None] / width
        if date:
            return 0.9 * right - 0.12 * down > 0.87
        return right + 0.2 * down < 0.06

    def view(self, window: Window, date: int) -> ndarray:
        """``(row, col, band)``: reflectance × 10,000 as a sensor saw it; 0 where it saw nothing."""
        rows, cols = _places(window)
        land, sky = self.land(window, date), self.sky(window, date)
        light = 1 + 0.06 * self._slope(rows, cols)
        texture = 1 + 0.06 * smooth(rows, cols, 10, self.seed + 6)
        seen = _SPECTRA[land] * (light * texture)[..., None]
        seen *= np.where(sky == SHADOW, 0.35, 1.0)[..., None]
        haze = self.haze * date * np.array((1, 0.7, 0.5, 0.2, 0.05, 0.02))
        veil = 1 + 0.4 * smooth(rows, cols, 150, self.seed + 7)
        seen += haze * np.clip(veil, 0.2, None)[..., None]
        seen = np.where((sky == CLOUD)[..., None], 0.55 + 0.05 * texture[..., None], seen)
        for band in range(len(BANDS)):
            seen[..., band] += 0.003 * normal(rows, cols, self.seed + 1000 * (date + 1) + band)
        numbers = np.clip(np.round(seen / SCALE), 1, 16000).astype(np.uint16)
        return np.where(self.missing(window, date)[..., None], np.uint16(0), numbers)

    def changed(self, window: Window) -> Bool[ndarray, "row col"]:
        """The truth that a job looks for: newly flooded, or cleared."""
        before, after = (self.land(window, date) for date in (0, 1))
        kind = WATER if self.event == "flood" else FOREST
        new = (after == kind) & (before != kind)
        return new if self.event == "flood" else (before == kind) & (after != kind)

    def _height(self, rows: ndarray, cols: ndarray) -> Float[ndarray, "row col"]:
        return smooth(rows, cols, 200, self.seed, octaves=6)

    def _above_water(
        self, rows: ndarray, cols: ndarray, height: Float[ndarray, "row col"]
    ) -> Float[ndarray, "row col"]:
        """How high land lies over the nearest river or lake, about; below 0 is water."""
        bend = smooth(rows, cols, 160, self.seed + 8, octaves=3)
        river = 4 * np.abs(bend) - 0.12
        return np.minimum(river + 0.25 * np.maximum(height, -0.4), height + 1.7)

    def _slope(self, rows: ndarray, cols: ndarray) -> Float[ndarray, "row col"]:
        """Light from the upper left: how much lower the land lies there."""
        return 8 * (self._height(rows, cols) - self._height(rows - 1, cols - 1))

    def _cloud(self, rows: ndarray, cols: ndarray) -> Bool[ndarray, "row col"]:
        # Of a normal quantity 10 % lies above 1.28; the tails of this noise are shorter.
        limit = np.interp(self.clouds, (0.0, 0.05, 0.1, 0.3, 0.5, 1.0), (4, 1.6, 1.25, 0.5, 0, -4))
        return smooth(rows, cols, 70, self.seed + 9) > limit


def _places(window: Window) -> tuple[ndarray, ndarray]:
    rows, cols = (np.arange(span.start, span.stop) for span in window)
    return rows, cols
