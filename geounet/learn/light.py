"""How the land is lit and shown in a training sample: another sun, air, sensor and display.

One sample at a time; drawn numbers lie in 0 to 1. Every step keeps NaN where it was and nowhere
else. They come in the order of the world: light, sensor noise, the choice of a display, and
last a band that fails.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from geounet.learn.augment_settings import AugmentSettings

Image = Float[Array, "side side band"]
Bands = Float[Array, " band"]


def relight(
    drawn: dict[str, Array], image: Image, settings: AugmentSettings, fill: Bands | None = None
) -> Image:
    """The sample through every step that is asked for."""
    image = lit(drawn, image, settings)
    if settings.contrast or settings.brightness:
        image = contrasted(drawn, image, settings)
    if settings.noise:
        image += settings.noise * drawn["noise"] * drawn["grain"]
    if settings.stretch or settings.band_stretch or settings.gamma:
        image = displayed(drawn, image, settings)
    if settings.band_dropout:
        dropped = _dropped(drawn["dropout"], settings.band_dropout)[None, None, :]
        blank = band_means(image) if fill is None else fill
        image = jnp.where(dropped & ~jnp.isnan(image), blank[None, None, :], image)
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
    points = settings.stretch * _signed(drawn["stretch"])[:, None]
    points = points + settings.band_stretch * _signed(drawn["band_stretch"])
    black, white = points[0], 1 + points[1]
    shares = ((image - low) / spans - black[None, None, :]) / (white - black)[None, None, :]
    shares = jnp.clip(shares, 0, 1)
    if settings.gamma:
        shares **= jnp.exp(settings.gamma * _signed(drawn["gamma"]))
    return low + spans * shares


def band_means(image: Image) -> Bands:
    """Mean of each band over its pixels with data; 0 where it has none."""
    seen = ~jnp.isnan(image)
    total = jnp.where(seen, image, jnp.zeros_like(image)).sum(axis=(0, 1))
    return total / jnp.maximum(seen.sum(axis=(0, 1)), 1).astype(image.dtype)


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
