"""Variants of a training sample that show the same land: turned, zoomed, lit and seen otherwise.

Everything is drawn from one key per sample, so a batch is a function of its key. Images are in the
card's unit, and NaN where they have no data; a pixel resampled from NaN is NaN. Labels are class
indices, 255 where unknown; they are moved, never mixed.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from geounet.learn.augment_settings import AugmentSettings

Image = Float[Array, "side side band"]
Labels = UInt8[Array, "side side"]
Images = Float[Array, "tile side side band"]
LabelBatch = UInt8[Array, "tile side side"]


def augment(
    key: Key[Array, ""], images: Images, labels: LabelBatch, settings: AugmentSettings
) -> tuple[Images, LabelBatch]:
    """Each sample of the batch with its own variation; the same key gives the same batch."""
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(lambda k, x, y: _vary(k, x, y, settings))(keys, images, labels)


def symmetry(which: Int[Array, ""], image: Array) -> Array:
    """One of the 8 symmetries of the square, along the first two axes; 0 changes nothing."""
    image = jnp.where(which % 2 == 1, image[::-1], image)
    image = jnp.where(which // 2 % 2 == 1, image[:, ::-1], image)
    return jnp.where(which // 4 == 1, image.swapaxes(0, 1), image)


def zoom(
    factor: Float[Array, ""], centre: Float[Array, "2"], image: Image, labels: Labels
) -> tuple[Image, Labels]:
    """The sample seen ``factor`` times larger: bands bilinear, labels nearest, edges mirrored.

    ``centre``, each in 0 to 1, is the point of the sample that stays where it is.
    """
    rows, cols = (_sources(image.shape[0], factor, at) for at in (centre[0], centre[1]))
    moved = _between(_between(image, rows).swapaxes(0, 1), cols).swapaxes(0, 1)
    return moved, labels[_nearest(rows)][:, _nearest(cols)]


def relight(key: Key[Array, ""], image: Image, settings: AugmentSettings) -> Image:
    """Another sensor, sun and air: gains, haze, offsets and noise, per pixel or per band."""
    gain_key, band_key, haze_key, offset_key, noise_key = jax.random.split(key, 5)
    bands, dtype = image.shape[-1], image.dtype
    gain = settings.gain * _signed(gain_key, (1,), dtype)
    gain += settings.band_gain * _signed(band_key, (bands,), dtype)
    light, decay = jax.random.uniform(haze_key, (2,), dtype)
    fading = jnp.exp(-decay * settings.haze_decay * jnp.arange(bands, dtype=dtype))
    offset = settings.haze * light * fading
    offset += settings.band_offset * _signed(offset_key, (bands,), dtype)
    image = image * jnp.exp(gain)[None, None, :] + offset[None, None, :]
    if settings.noise:
        amount_key, noise_key = jax.random.split(noise_key)
        amount = settings.noise * jax.random.uniform(amount_key, (), dtype)
        image += amount * jax.random.normal(noise_key, image.shape, dtype)
    return image


def _vary(
    key: Key[Array, ""], image: Image, labels: Labels, settings: AugmentSettings
) -> tuple[Image, Labels]:
    turn_key, zoom_key, light_key = jax.random.split(key, 3)
    if settings.symmetries:
        which = jax.random.randint(turn_key, (), 0, 8)
        image, labels = symmetry(which, image), symmetry(which, labels)
    if settings.zoom != (1.0, 1.0):
        draws = jax.random.uniform(zoom_key, (3,), image.dtype)
        low, high = (jnp.log(jnp.asarray(end, image.dtype)) for end in settings.zoom)
        image, labels = zoom(jnp.exp(low + draws[0] * (high - low)), draws[1:], image, labels)
    return relight(light_key, image, settings), labels


def _signed(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    return jax.random.uniform(key, shape, dtype, minval=-1, maxval=1)


def _sources(side: int, factor: Float[Array, ""], centre: Float[Array, ""]) -> Array:
    """Where along an axis each output pixel looks, mirrored back into the sample."""
    still = centre * (side - 1)
    at = still + (jnp.arange(side, dtype=factor.dtype) - still) / factor
    at = jnp.abs(at) % (2 * (side - 1))
    return jnp.minimum(at, 2 * (side - 1) - at)


def _between(image: Image, at: Float[Array, " side"]) -> Image:
    low = jnp.floor(at).astype(jnp.int32)
    share = (at - low.astype(at.dtype))[:, None, None]
    high = jnp.minimum(low + 1, image.shape[0] - 1)
    # A share of 0 takes its pixel alone, or NaN next to it would spread.
    return jnp.where(share == 0, image[low], image[low] * (1 - share) + image[high] * share)


def _nearest(at: Float[Array, " side"]) -> Int[Array, " side"]:
    return jnp.round(at).astype(jnp.int32)
