"""Which pixels a cloud mask hides: named values or bits of a raster, grown by some pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter

from geounet.bands import Band, ReadHeader, nodata_of
from geounet.errors import InputError, SettingsError
from geounet.grid import Grid, Window, shape_of
from geounet.locations import locate, shown
from geounet.mask_rule import parse_mask
from geounet.products import Product
from geounet.raster import Raster
from geounet.resample import Part, read_on
from geounet.sensors import MASK_RULES, canonical
from geounet.small_file import is_file


@dataclass(frozen=True)
class Mask:
    """Pixels of ``raster`` that hold one of ``values``, or have one of ``bits`` set, are hidden."""

    raster: Raster
    band: int
    values: tuple[int, ...]
    bits: tuple[int, ...]


def find_mask(
    rule: str,
    product: Product,
    bands: tuple[Band, ...],
    header: ReadHeader,
    allow_private: bool = False,
) -> Mask:
    """The mask that a rule means for a product: its own layer, or a file beside it or here.

    ``allow_private`` lets the rule name an address inside this machine or network.

    Raises:
        InputError: if the product has no such layer, or the file is no mask.
        SettingsError: if the rule cannot be understood.
    """
    base = Path(product.folder) if product.folder else None
    if rule in MASK_RULES:
        file, band = _named_mask(rule, product, bands)
        parts = parse_mask(MASK_RULES[rule])
    else:
        parts = parse_mask(rule)
        if not parts.file:
            raise SettingsError(f"mask {shown(rule)!r}: names no file; write FILE:{rule}")
        here = locate(parts.file, base, allow_private)
        plain = locate(parts.file, allow_private=allow_private)
        file, band = (here if is_file(here) else plain), parts.band
    mask = Mask(header(file), band, parts.values, parts.bits)
    _check_mask(mask)
    return mask


def _named_mask(rule: str, product: Product, bands: tuple[Band, ...]) -> tuple[str, int]:
    """The product's own mask file, or a band of that name in the scene's raster."""
    keys = {"fmask4": ("fmask", "fmask4", "hls"), "hls": ("hls", "fmask")}.get(rule, (rule,))
    for key in keys:
        if key in product.masks:
            return product.masks[key], 1
    for band in bands:
        if canonical(band.description) in keys:
            return band.file, band.index
    raise InputError(
        f"{product.name}: has no {rule} layer; give the file, as in --mask FILE:{MASK_RULES[rule]}"
    )


def _check_mask(mask: Mask) -> None:
    """A mask band holds whole numbers.

    Raises:
        InputError: if it has no such band or holds fractions.
    """
    raster = mask.raster
    if mask.band > raster.count:
        raise InputError(
            f"{raster.shown}: has no band {mask.band} to mask with, only {raster.count}; "
            f"correct --mask"
        )
    dtype = raster.dtypes[mask.band - 1]
    if dtype.startswith("complex"):
        raise InputError(f"{raster.shown}: is of type {dtype}, which is no mask; correct --mask")


def hidden_by(mask: Mask, grid: Grid, window: Window, grow: int) -> np.ndarray:
    """``(row, col)`` True where the mask hides a pixel, or one within ``grow`` rows and columns.

    Where the mask has no data nothing is hidden, unless its nodata is one of the values. A margin
    of ``grow`` is read, so that ``hidden_by(…, window, …)`` is the window of the whole grid's.

    Raises:
        InputError: if the mask cannot be read there.
    """
    rows, cols = window
    wider = (
        slice(rows.start - grow, rows.stop + grow),
        slice(cols.start - grow, cols.stop + grow),
    )
    nodata = nodata_of(mask.raster, mask.band)
    part = Part(mask.raster, (mask.band,), (nodata,), "nearest")
    numbers, known = read_on(part, grid, wider)
    flagged = _flags(numbers[..., 0], mask) & known
    if nodata is not None and nodata in mask.values:
        flagged |= ~known
    if grow:
        flagged = maximum_filter(flagged, size=2 * grow + 1, mode="constant", cval=False)
    height, width = shape_of(window)
    return flagged[grow : grow + height, grow : grow + width]


def _flags(numbers: np.ndarray, mask: Mask) -> np.ndarray:
    if mask.values:
        return np.logical_or.reduce([numbers == value for value in mask.values])
    whole = np.nan_to_num(numbers).astype(np.int64)
    return (whole & sum(1 << b for b in set(mask.bits))) != 0
