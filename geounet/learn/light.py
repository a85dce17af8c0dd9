"""How the land is lit and shown in a training sample: another sun, air, sensor and display.

One sample at a time; drawn numbers lie in 0 to 1. Every step keeps NaN where it was and nowhere
else. They come in the order of the world: light, sensor noise, the choice of a display, and
last a band that fails.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from geounet.learn.augment_settings import AugmentSettings

Image = Float[Array, "side side band"]
Bands = Float[Array, " band"]


class Inputs(NamedTuple):
    """What is known of the bands of a sample.

    The last ``places`` of them are places between two percentiles of a whole scene. ``fill`` is
    what a dropped band shows: the mean of the training set, which the network sees as 0; without
    it, the chip's own mean.
    """

    fill: Bands | None = None
    places: int = 0


PER_BAND = ("band_gain", "band_offset", "band_stretch", "grain")
"""Of what is drawn: the arrays whose last axis is the bands."""


def relight(
    drawn: dict[str, Array],
    image: Image,
    settings: AugmentSettings,
    inputs: Inputs,
) -> Image:
    """The sample through every step that is asked for.

    Another light or sensor moves a scene's percentiles with its values, so the places between them
    stay; only another choice of black and white point moves them.
    """
    if inputs.places:
        split = image.shape[-1] - inputs.places
        values, among = (_bands_of(drawn, part) for part in (slice(split), slice(split, None)))
        seen = _exposed(values, image[..., :split], settings)
        image = jnp.concatenate([seen, placed(among, image[..., split:], settings)], axis=-1)
    else:
        image = _exposed(drawn, image, settings)
        if settings.stretch or settings.band_stretch or settings.gamma:
            image = displayed(drawn, image, settings)
    if settings.band_dropout:
        dropped = _dropped(drawn["dropout"], settings.band_dropout)[None, None, :]
        blank = band_means(image) if inputs.fill is None else inputs.fill
        image = jnp.where(dropped & ~jnp.isnan(image), blank[None, None, :], image)
    return image


def _exposed(drawn: dict[str, Array], image: Image, settings: AugmentSettings) -> Image:
    """As another sensor saw it, under other light."""
    image = lit(drawn, image, settings)
    if settings.contrast or settings.brightness:
        image = contrasted(drawn, image, settings)
    if settings.noise:
        image += settings.noise * drawn["noise"] * drawn["grain"]
    return image


def lit(drawn: dict[str, Array], image: Image, settings: AugmentSettings) -> Image:
    """Another sun and sensor by gains, another air by haze, another calibration by offsets."""
    if settings.gain or settings.band_gain:
        gain = settings.gain * _signed(drawn["gain"])
        gain = gain + settings.band_gain * _signed(drawn["band_gain"])
        image = image * jnp.exp(gain)[None, None, :]
    if settings.haze or settings.band_offset:
        amount, decay = drawn["haze"]
        steps = jnp.arange(image.shape[-1], dtype=image.dtype)
        offset = settings.haze * amount * jnp.exp(-decay * settings.haze_decay * steps)
        offset += settings.band_offset * _signed(drawn["band_offset"])
        image = image + offset[None, None, :]
    return image


def contrasted(drawn: dict[str, Array], image: Image, settings: AugmentSettings) -> Image:
    """Differences from the chip's mean grow or shrink, and all bands move together."""
    factor = jnp.exp(settings.contrast * _signed(drawn["contrast"]))
    shift = settings.brightness * _signed(drawn["brightness"])
    means = band_means(image)[None, None, :]
    return means + (image - means) * factor + shift


def displayed(drawn: dict[str, Array], image: Image, settings: AugmentSettings) -> Image:
    """Another choice of black point, white point and gamma for a picture already stretched.

    What was black or white before cannot come back, and what the new points cut is clipped, as it
    is in a file of 8 bits: values stay within the range.
    """
    low, high = _range(image, settings.stretch_range)
    spans = jnp.maximum(high - low, jnp.finfo(image.dtype).tiny)
    black, white = _points(drawn, settings)
    shares = ((image - low) / spans - black[None, None, :]) / (white - black)[None, None, :]
    shares = jnp.clip(shares, 0, 1)
    if settings.gamma:
        shares **= jnp.exp(settings.gamma * _signed(drawn["gamma"]))
    return low + spans * shares


def placed(drawn: dict[str, Array], places: Image, settings: AugmentSettings) -> Image:
    """Places in a scene whose black and white points were chosen otherwise; nothing is clipped."""
    black, white = _points(drawn, settings)
    return (places - black[None, None, :]) / (white - black)[None, None, :]


def band_means(image: Image) -> Bands:
    """Mean of each band over its pixels with data; 0 where it has none."""
    seen = ~jnp.isnan(image)
    total = jnp.where(seen, image, jnp.zeros_like(image)).sum(axis=(0, 1))
    return total / jnp.maximum(seen.sum(axis=(0, 1)), 1).astype(image.dtype)


def _points(drawn: dict[str, Array], settings: AugmentSettings) -> tuple[Bands, Bands]:
    """Where black and white of each band lie now, if they lay at 0 and 1."""
    points = settings.stretch * _signed(drawn["stretch"])[:, None]
    points = points + settings.band_stretch * _signed(drawn["band_stretch"])
    return points[0], 1 + points[1]


def _bands_of(drawn: dict[str, Array], part: slice) -> dict[str, Array]:
    """What was drawn for some of the bands."""
    return {n: x[..., part] if n in PER_BAND else x for n, x in drawn.items()}


def _range(image: Image, given: tuple[float, float] | None) -> tuple[Array, Array]:
    """Black and white of each band, ready to be combined with the image."""
    if given:
        low, high = (jnp.full((1, 1, image.shape[-1]), end, image.dtype) for end in given)
        return low, high
    seen, far = ~jnp.isnan(image), jnp.full_like(image, jnp.inf)
    low = jnp.where(seen, image, far).min(axis=(0, 1), keepdims=True)
    return low, jnp.where(seen, image, -far).max(axis=(0, 1), keepdims=True)


def _dropped(drawn: Bands, probability: float) -> Array:
    """Which bands fail; the one that is least likely to never does."""
    return (drawn < probability) & (drawn < drawn.max())


def _signed(drawn: Array) -> Array:
    return 2 * drawn - 1
