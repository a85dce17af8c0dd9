"""Variants of training samples that show the same land: turned, bent, lit and shown otherwise.

Everything is drawn from one key per batch, so a batch is a function of its key. Images are in the
card's unit, and NaN where they have no data; a pixel resampled from NaN is NaN. Labels are class
indices, 255 where unknown; they and the weights of pixels are moved, never mixed.
"""

from __future__ import annotations

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from geounet.learn.augment_settings import AugmentSettings
from geounet.learn.geometry import move
from geounet.learn.light import Inputs, relight

Images = Float[Array, "tile side side band"]
LabelBatch = UInt8[Array, "tile side side"]
WeightBatch = Float[Array, "tile side side"]


def augment(
    key: Key[Array, ""],
    images: Images,
    labels: LabelBatch,
    settings: AugmentSettings,
    weights: WeightBatch | None = None,
    inputs: Inputs | None = None,
) -> tuple[Images, LabelBatch, WeightBatch | None]:
    """Each sample of the batch with its own variation; the same key gives the same batch.

    Args:
        key: decides everything that is drawn.
        images: in the card's unit, NaN where there is no data.
        labels: class indices, 255 where unknown.
        settings: how far to go; what is off costs nothing.
        weights: of pixels in the loss; they move as labels do.
        inputs: what is known of the bands.
    """
    inputs = inputs or Inputs()
    tiles, bands = images.shape[0], images.shape[-1]
    drawn = draw(key, tiles, bands, images.dtype)
    if settings.noise:
        drawn["grain"] = grain(jax.random.fold_in(key, 1), images.shape).astype(images.dtype)

    def vary(
        one: dict[str, Array], image: Array, place: tuple[Array, Array | None]
    ) -> tuple[Array, tuple[Array, Array | None]]:
        image, place = move(one, image, place, settings)
        return relight(one, image, settings, inputs), place

    images, (labels, weights) = jax.vmap(vary)(drawn, images, (labels, weights))
    return images, labels, weights


def draw(key: Key[Array, ""], tiles: int, bands: int, dtype: np.dtype) -> dict[str, Array]:
    """Numbers from 0 to 1 for every choice of every sample, ``(tile, …)`` by name.

    All are drawn, and in one call: each call of the generator costs time to compile, and so one
    setting does not change what another draws.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "turn": (),
        "zoom": (),
        "centre": (2,),
        "bend": (3, 3, 2),
        "gain": (),
        "band_gain": (bands,),
        "haze": (2,),
        "band_offset": (bands,),
        "contrast": (),
        "brightness": (),
        "noise": (),
        "stretch": (2,),
        "band_stretch": (2, bands),
        "gamma": (),
        "dropout": (bands,),
    }
    ends = np.cumsum([0, *map(math.prod, shapes.values())]).tolist()
    numbers = jax.random.uniform(_fast(key), (tiles, ends[-1]), dtype)
    return {
        name: numbers[:, start:stop].reshape(tiles, *shape)
        for (name, shape), (start, stop) in zip(shapes.items(), pairwise(ends), strict=True)
    }


def grain(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Noise of mean 0 and deviation 1: the sum of a random word's four bytes.

    It is close to normal, ends at ±3.5, and costs a fifth of ``jax.random.normal``.
    """
    words = jax.random.bits(_fast(key), shape, jnp.uint32)
    parts = jax.lax.bitcast_convert_type(words, jnp.uint8).astype(jnp.float32)
    return (parts.sum(axis=-1) - 510) / math.sqrt((256**2 - 1) / 3)


def _fast(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key for XLA's own generator.

    On a CPU it compiles and draws several times faster than JAX's usual one; it, too, gives the
    same numbers over any number of devices, but others on another kind of device.
    """
    return jax.random.wrap_key_data(jnp.tile(jax.random.key_data(key), 2), impl="rbg")
