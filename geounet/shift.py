"""How far one image lies beside another: phase correlation, to a twentieth of a pixel.

The phase of the cross-power spectrum of two images that differ by a shift is a plane, and its
inverse transform a peak at the shift (Kuglin & Hines 1975). The peak is found on whole pixels, then
refined by a Fourier transform on a fine grid around it (Guizar-Sicairos et al. 2008).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FARTHEST = 8
"""Pixels beyond which a shift is not looked for."""
STEPS = 20
"""Of the fine grid, in a pixel."""
_PASS = 0.2
# ^ Cycles per pixel: what is finer is mostly noise, and differs with the sensor.


class Shift(NamedTuple):
    """How far the second image lies down and to the right of the first, in pixels.

    ``sharpness`` is the peak's height over the spread of what surrounds it: about 4 for two images
    that have nothing in common, and more the surer the shift is.
    """

    rows: float
    cols: float
    sharpness: float


def shift_between(first: Float[ndarray, "row col"], second: Float[ndarray, "row col"]) -> Shift:
    """The shift of two images of one size, each at least four times `FARTHEST` along a side."""
    spectra = [np.fft.fft2(_tapered(image)) for image in (first, second)]
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    down, right = (np.fft.fftfreq(n) for n in first.shape)
    kept = np.exp(-((down[:, None] ** 2 + right[None] ** 2) / _PASS**2))
    cross = np.where(size > 0, cross / np.where(size > 0, size, 1), 0) * kept
    surface = np.fft.ifft2(cross).real
    places = np.arange(-FARTHEST, FARTHEST + 1)
    near = surface[np.ix_(places, places)]
    row, col = np.unravel_index(near.argmax(), near.shape)
    spread = float(surface.std()) or 1.0
    fine = np.arange(-STEPS, STEPS + 1) / STEPS
    rows, cols = places[row] + fine, places[col] + fine
    # A matrix product on each side is the inverse transform at the places asked for only.
    left = np.exp(2j * np.pi * rows[:, None] * down[None])
    peak = (left @ cross @ np.exp(2j * np.pi * right[:, None] * cols[None])).real
    best = np.unravel_index(peak.argmax(), peak.shape)
    return Shift(float(rows[best[0]]), float(cols[best[1]]), float(near.max() / spread))


def _tapered(image: Float[ndarray, "row col"]) -> Float[ndarray, "row col"]:
    """Without its mean, and faded at its edges, where the transform would see a step."""
    rows, cols = (np.hanning(n) for n in image.shape)
    return (image - image.mean()) * rows[:, None] * cols[None]
