"""From a window's pixels to its labels: scale, normalise, network, argmax, in one compiled call.

The file's own numbers and a one-byte mask go to the device; bytes come back.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from geounet.card import ModelCard
from geounet.compiling import compiled
from geounet.indices import Pairs, normalised_differences
from geounet.networks import Network

Precision = Literal["f32", "bf16"]
Bands = Shaped[np.ndarray, "row col band"]
Valid = Bool[np.ndarray, "row col"]
Logits = Float[Array, "row col output"]
SYMMETRIES = 8
"""Of the square: four quarter turns, each as it is and mirrored."""


class Predictor:
    """One network on one device, for one scene's scaling: call it with a window's pixels.

    With ``tta`` the window is seen in its eight symmetries, one after the other, and the
    probabilities are averaged. The seam law holds as it does without: a window's sides are
    multiples of the stride, so turning it maps the blocks that are pooled onto each other, and the
    network turned with it has the same reach on all sides (tests/test_predict.py). It takes eight
    times the computing, and memory for two more maps of the classes.

    Args:
        network: in evaluation mode, batch norm folded.
        card: what the network was trained on.
        scale, offset: per input of the network that is a band, ``input = number * scale + offset``;
            these are the bands in the card's unit, and with the card's stretch the same bands once
            more. The card's indices are computed from the first.
        precision: of the network's arithmetic; logits are float32 either way.
        tta: test-time augmentation.
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        scale: tuple[float, ...],
        offset: tuple[float, ...],
        precision: Precision = "f32",
        *,
        tta: bool = False,
    ) -> None:
        graph, state = nnx.split(network)
        dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
        self._state = jax.device_put(jax.tree.map(lambda x: x.astype(dtype), state))
        self._forward = partial(_logits, _Program(graph, dtype, card.pairs))
        self._scaling = _scaling_of(card, scale, offset)
        self._values = jnp.asarray([c.value for c in card.classes], jnp.uint8)
        self._temperature = jnp.float32(card.temperature)
        self._tta = tta

    def logits(self, bands: Bands, valid: Valid) -> Logits:
        """Float32 logits of every pixel of the window, before the card's temperature.

        With ``tta``, the logits of the mean probabilities.
        """
        if not self._tta:
            return self._forward(self._state, bands, valid, self._scaling)
        first = self._forward(self._state, bands, valid, self._scaling)
        total = _add_view(0, first, None)
        for which in range(1, SYMMETRIES):
            # Turned on the host: the device then compiles one forward per shape, at most two.
            turned = (np.ascontiguousarray(turn(which, x)) for x in (bands, valid))
            total = _add_view(which, self._forward(self._state, *turned, self._scaling), total)
        return _difference(total) if first.shape[-1] == 1 else total

    def __call__(
        self, bands: Bands, valid: Valid, confidence: bool = False, probabilities: bool = False
    ) -> dict[str, UInt8[np.ndarray, "..."]]:
        """``mask`` of class values, and on request ``confidence`` and ``probabilities`` in %."""
        logits = self.logits(bands, valid)
        layers = {"mask": self.values(logits)}
        if confidence:
            layers["confidence"] = _percent(self.probabilities(logits).max(axis=-1))
        if probabilities:
            layers["probabilities"] = _percent(self.probabilities(logits))
        return {name: np.asarray(layer) for name, layer in layers.items()}

    def values(self, logits: Logits) -> UInt8[Array, "row col"]:
        """The value of each pixel's most probable class, whatever the temperature."""
        return self._values[class_index(logits)]

    def probabilities(self, logits: Logits) -> Float[Array, "row col klass"]:
        """What the card's temperature makes of logits; each pixel's sum to 1."""
        return _probabilities(logits, self._temperature)


def turn(which: int, image: np.ndarray) -> np.ndarray:
    """One of the 8 symmetries of the square, along the first two axes; 0 changes nothing.

    Bit 0 flips the rows, then bit 1 the columns, then bit 2 swaps the two.
    """
    rows, cols = (slice(None, None, -1 if which & bit else 1) for bit in (1, 2))
    image = image[rows, cols]
    return image.swapaxes(0, 1) if which & 4 else image


def turn_back(which: int, image: Array) -> Array:
    """``turn_back(which, turn(which, image)) == image``."""
    rows, cols = (slice(None, None, -1 if which & bit else 1) for bit in (1, 2))
    image = image.swapaxes(0, 1) if which & 4 else image
    return image[rows, cols]


@partial(jax.jit, static_argnums=0)
def _add_view(
    which: int, logits: Float[Array, "..."], total: Float[Array, "row col klass"] | None
) -> Float[Array, "row col klass"]:
    """The logarithm of a sum of probabilities, with one more view's in it, turned back."""
    # Logarithms, as a mean of probabilities that round to 0 or 1 would have no logit.
    seen = turn_back(which, _log_probabilities(logits))
    return seen if total is None else jnp.logaddexp(total, seen)


@jax.jit
def _difference(total: Float[Array, "row col 2"]) -> Logits:
    """The one logit that tells two classes apart; the number of views cancels in it."""
    return total[:, :, 1:] - total[:, :, :1]


def _log_probabilities(logits: Logits) -> Float[Array, "row col klass"]:
    """Of every class: one logit (sigmoid) is the second's of two, more are softmax's."""
    if logits.shape[-1] == 1:
        return jnp.concatenate([jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=-1)
    return jax.nn.log_softmax(logits, axis=-1)


Line = tuple[Float[Array, " input"], Float[Array, " input"]]
"""A product and a sum for each input."""


class _Program(NamedTuple):
    """What a compiled forward is made for."""

    graph: nnx.GraphDef[Network]
    dtype: jnp.dtype
    pairs: Pairs


class _Scaling(NamedTuple):
    """Numbers → normalised bands; numbers → the card's unit; indices → normalised indices."""

    bands: Line
    unit: Line
    indices: Line


def _scaling_of(card: ModelCard, scale: tuple[float, ...], offset: tuple[float, ...]) -> _Scaling:
    """Each ``(number * scale + offset - mean) / std`` as one product and one sum."""
    gain, bias = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    mean, std = np.asarray(card.mean, np.float64), np.asarray(card.std, np.float64)
    own, rest = slice(len(gain)), slice(len(gain), None)
    lines = (
        (gain / std[own], (bias - mean[own]) / std[own]),
        (gain, bias),
        (1 / std[rest], -mean[rest] / std[rest]),
    )
    return _Scaling(*((jnp.float32(a), jnp.float32(b)) for a, b in lines))


@compiled(static_argnums=0)
def _logits(
    program: _Program,
    state: nnx.State,
    bands: Shaped[Array, "row col band"],
    valid: Bool[Array, "row col"],
    scaling: _Scaling,
) -> Logits:
    numbers = bands.astype(jnp.float32)
    # A model with a stretch sees each band twice, the second time by its place in the scene.
    x = jnp.tile(numbers, (1, 1, scaling.bands[0].shape[0] // numbers.shape[-1]))
    x = _along(scaling.bands, x)
    if program.pairs:
        indices = normalised_differences(_along(scaling.unit, numbers), program.pairs)
        x = jnp.concatenate([x, _along(scaling.indices, indices)], axis=-1)
    # Rule 4 of exact tiling: pad and nodata take one constant, per pixel, never a statistic.
    x = jnp.where(valid[:, :, None], x, jnp.float32(0))
    network = nnx.merge(program.graph, state)
    return network(x.astype(program.dtype)[None])[0].astype(jnp.float32)


def _along(line: Line, x: Float[Array, "row col input"]) -> Float[Array, "row col input"]:
    gain, bias = line
    return x * gain[None, None, :] + bias[None, None, :]


@jax.jit
def class_index(logits: Logits) -> Int[Array, "row col"]:
    """Which class of the card each pixel is of: the most probable one."""
    second = logits[:, :, 0] > 0
    return second.astype(jnp.int32) if logits.shape[-1] == 1 else logits.argmax(axis=-1)


@jax.jit
def _probabilities(logits: Logits, temperature: Float[Array, ""]) -> Float[Array, "row col klass"]:
    logits = logits / temperature
    if logits.shape[-1] == 1:
        second = jax.nn.sigmoid(logits)
        return jnp.concatenate([jnp.float32(1) - second, second], axis=-1)
    return jax.nn.softmax(logits, axis=-1)


@jax.jit
def _percent(share: Float[Array, "..."]) -> UInt8[Array, "..."]:
    return jnp.round(share * jnp.float32(100)).astype(jnp.uint8)
