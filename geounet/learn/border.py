"""Pixel weights that make narrow gaps between objects count (Ronneberger et al. 2015, eq. 2).

Computed on the host, once per chip: distances need the whole chip and cannot be learnt through.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from geounet.card import NODATA
from geounet.learn.loss_settings import LossSettings

Labels = UInt8[np.ndarray, "row col"]
Part = Bool[np.ndarray, "row col"]
Distances = Float32[np.ndarray, "row col"]

REACH = 5
"""In widths σ: beyond it w0 = 10 adds less than 0.00004."""


def border_weights(labels: Labels, settings: LossSettings) -> Float32[np.ndarray, "row col"]:
    """1 + w0 exp(−(d1 + d2)² / 2σ²); d1 and d2 reach the borders of the nearest two objects.

    An object is a connected part (sides touch) of one class other than the first, which is the
    background. Its border are its pixels beside another class; neither the edge of the chip nor a
    pixel without a label (255) makes one. The paper's other term, the weights of the classes, is
    ``class_weights``.
    """
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    reach = int(np.ceil(REACH * settings.border_sigma))
    for klass in np.setdiff1d(labels, [0, NODATA]):
        objects, _ = ndimage.label(labels == klass)
        for number, box in enumerate(ndimage.find_objects(objects), start=1):
            # What lies further off than the reach cannot change: distances stay small problems.
            near = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)
            away = _distances(objects[near] == number, labels[near] == NODATA)
            second[near] = np.minimum(second[near], np.maximum(nearest[near], away))
            nearest[near] = np.minimum(nearest[near], away)
    fall = np.exp(-((nearest + second) ** 2) / (2 * settings.border_sigma**2))
    return (1 + settings.border * fall).astype(np.float32)


def _distances(inside: Part, unknown: Part) -> Distances:
    """From each pixel to the border of the object, in pixels; infinite where it has none."""
    border = inside & ~ndimage.binary_erosion(inside | unknown, border_value=1)
    if not border.any():
        return np.full(inside.shape, np.inf, np.float32)
    return ndimage.distance_transform_edt(~border).astype(np.float32)
