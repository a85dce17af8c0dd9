"""From a window's pixels to its labels: scale, normalise, network, argmax, in one compiled call.

The file's own numbers and a one-byte mask go to the device; bytes come back.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Shaped, UInt8

from geounet.card import ModelCard
from geounet.unet import UNet

Precision = Literal["f32", "bf16"]
Bands = Shaped[np.ndarray, "row col band"]
Valid = Bool[np.ndarray, "row col"]
Logits = Float[Array, "row col output"]


class Predictor:
    """One network on one device, for one scene's scaling: call it with a window's pixels.

    Args:
        network: in evaluation mode, batch norm folded.
        card: what the network was trained on.
        scale, offset: per band, ``value = number * scale + offset`` gives the card's unit.
        precision: of the network's arithmetic; logits are float32 either way.
    """

    def __init__(
        self,
        network: UNet,
        card: ModelCard,
        scale: tuple[float, ...],
        offset: tuple[float, ...],
        precision: Precision = "f32",
    ) -> None:
        graph, state = nnx.split(network)
        dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
        self._state = jax.device_put(jax.tree.map(lambda x: x.astype(dtype), state))
        self._forward = partial(_logits, graph, dtype)
        # (number * scale + offset - mean) / std, as one product and one sum per band.
        std = np.asarray(card.std, np.float64)
        gain = np.asarray(scale, np.float64) / std
        bias = (np.asarray(offset, np.float64) - np.asarray(card.mean, np.float64)) / std
        self._scaling = (jnp.float32(gain), jnp.float32(bias))
        self._values = jnp.asarray([c.value for c in card.classes], jnp.uint8)

    def logits(self, bands: Bands, valid: Valid) -> Logits:
        """Float32 logits of every pixel of the window."""
        return self._forward(self._state, bands, valid, self._scaling)

    def __call__(
        self, bands: Bands, valid: Valid, confidence: bool = False, probabilities: bool = False
    ) -> dict[str, UInt8[np.ndarray, "..."]]:
        """``mask`` of class values, and on request ``confidence`` and ``probabilities`` in %."""
        logits = self.logits(bands, valid)
        layers = {"mask": _classes(logits, self._values)}
        if confidence:
            layers["confidence"] = _percent(_probabilities(logits).max(axis=-1))
        if probabilities:
            layers["probabilities"] = _percent(_probabilities(logits))
        return {name: np.asarray(layer) for name, layer in layers.items()}


@partial(jax.jit, static_argnums=(0, 1))
def _logits(
    graph: nnx.GraphDef[UNet],
    dtype: jnp.dtype,
    state: nnx.State,
    bands: Shaped[Array, "row col band"],
    valid: Bool[Array, "row col"],
    scaling: tuple[Float[Array, " band"], Float[Array, " band"]],
) -> Logits:
    gain, bias = scaling
    x = bands.astype(jnp.float32) * gain[None, None, :] + bias[None, None, :]
    # Rule 4 of exact tiling: pad and nodata take one constant, per pixel, never a statistic.
    x = jnp.where(valid[:, :, None], x, jnp.float32(0))
    return nnx.merge(graph, state)(x.astype(dtype)[None])[0].astype(jnp.float32)


@jax.jit
def _classes(logits: Logits, values: UInt8[Array, " class"]) -> UInt8[Array, "row col"]:
    second = logits[:, :, 0] > 0
    index = second.astype(jnp.int32) if logits.shape[-1] == 1 else logits.argmax(axis=-1)
    return values[index]


@jax.jit
def _probabilities(logits: Logits) -> Float[Array, "row col class"]:
    if logits.shape[-1] == 1:
        second = jax.nn.sigmoid(logits)
        return jnp.concatenate([jnp.float32(1) - second, second], axis=-1)
    return jax.nn.softmax(logits, axis=-1)


@jax.jit
def _percent(share: Float[Array, "..."]) -> UInt8[Array, "..."]:
    return jnp.round(share * jnp.float32(100)).astype(jnp.uint8)
