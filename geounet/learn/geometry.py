"""Where the land lies in a training sample: turned, zoomed, bent, with labels going along.

One sample at a time; drawn numbers lie in 0 to 1. Bands are bilinear, and a pixel between others
is NaN if one of them is; what goes along (labels, weights) takes the nearest pixel. Places beyond
the edges are mirrored, so that no pixel is invented.
"""

from __future__ import annotations

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from geounet.learn.augment_settings import AugmentSettings

Image = Float[Array, "side side band"]
Axis = Float[Array, " side"]
Field = Float[Array, "side side"]
Along = TypeVar("Along")


def move(
    drawn: dict[str, Array], image: Image, along: Along, settings: AugmentSettings
) -> tuple[Image, Along]:
    """The sample seen from elsewhere; ``along`` is any tree of ``(side, side)`` arrays."""
    if settings.symmetries:
        which = (drawn["turn"] * 8).astype(jnp.int32)
        image, along = jax.tree.map(lambda part: symmetry(which, part), (image, along))
    if settings.zoom == (1.0, 1.0) and not settings.elastic:
        return image, along
    low, high = map(math.log, settings.zoom)
    factor = jnp.exp(low + drawn["zoom"] * (high - low))
    rows, cols = zoomed(image.shape[0], factor, drawn["centre"])
    if not settings.elastic:
        return stretched(image, rows, cols), jax.tree.map(
            lambda part: part[_nearest(rows)][:, _nearest(cols)], along
        )
    shift = displacement(drawn["bend"], image.shape[0], settings.elastic)
    rows_at = mirrored(rows[:, None] + shift[..., 0], image.shape[0])
    cols_at = mirrored(cols[None, :] + shift[..., 1], image.shape[0])
    return bent(image, rows_at, cols_at), jax.tree.map(
        lambda part: part[_nearest(rows_at), _nearest(cols_at)], along
    )


def symmetry(which: Int[Array, ""], image: Array) -> Array:
    """One of the 8 symmetries of the square, along the first two axes; 0 changes nothing."""
    image = jnp.where(which % 2 == 1, image[::-1], image)
    image = jnp.where(which // 2 % 2 == 1, image[:, ::-1], image)
    return jnp.where(which // 4 == 1, image.swapaxes(0, 1), image)


def zoomed(side: int, factor: Float[Array, ""], centre: Float[Array, "2"]) -> tuple[Axis, Axis]:
    """Rows and columns that a sample seen ``factor`` times larger shows.

    ``centre``, each in 0 to 1, is the point of the sample that stays where it is.
    """
    still = centre[:, None] * (side - 1)
    at = still + (jnp.arange(side, dtype=factor.dtype)[None, :] - still) / factor
    rows, cols = mirrored(at, side)
    return rows, cols


def displacement(
    drawn: Float[Array, "3 3 2"], side: int, sigma: float
) -> Float[Array, "side side 2"]:
    """Rows and columns by which each pixel moves: normal on 3 × 3 points, bicubic between.

    Ronneberger et al. 2015, section 3.1; ``sigma`` is in pixels.
    """
    # A uniform 0 would be −∞: it is taken as half the least number that is drawn.
    centred = 2 * jnp.maximum(drawn, 2.0**-24) - 1
    coarse = sigma * math.sqrt(2) * jax.lax.erf_inv(centred)
    return jax.image.resize(coarse, (side, side, 2), "cubic")


def mirrored(at: Array, side: int) -> Array:
    """Places along an axis, those beyond its ends folded back onto it."""
    at = jnp.abs(at) % (2 * (side - 1))
    return jnp.minimum(at, 2 * (side - 1) - at)


def stretched(image: Image, rows: Axis, cols: Axis) -> Image:
    """``image`` at every pair of ``rows`` and ``cols``: one axis after the other."""
    halfway = _along_rows(image, rows).swapaxes(0, 1)
    return _along_rows(halfway, cols).swapaxes(0, 1)


def bent(image: Image, rows: Field, cols: Field) -> Image:
    """``image`` at a place of its own for every pixel."""
    side, bands = image.shape[0], image.shape[-1]
    pixels = image.reshape(-1, bands)
    top, left = (jnp.floor(at).astype(jnp.int32) for at in (rows, cols))
    down, right = ((at - jnp.floor(at))[..., None] for at in (rows, cols))
    bottom, far = (jnp.minimum(low + 1, side - 1) for low in (top, left))
    above = _between(pixels[top * side + left], pixels[top * side + far], right)
    below = _between(pixels[bottom * side + left], pixels[bottom * side + far], right)
    return _between(above, below, down)


def _along_rows(image: Image, at: Axis) -> Image:
    low = jnp.floor(at).astype(jnp.int32)
    share = (at - low.astype(at.dtype))[:, None, None]
    return _between(image[low], image[jnp.minimum(low + 1, image.shape[0] - 1)], share)


def _between(first: Array, second: Array, share: Array) -> Array:
    # A share of 0 takes its pixel alone, or NaN next to it would spread.
    return jnp.where(share == 0, first, first * (1 - share) + second * share)


def _nearest(at: Array) -> Array:
    return jnp.round(at).astype(jnp.int32)
