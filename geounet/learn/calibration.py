"""Whether confidence means what it says, and the one number that makes it so.

Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural
Networks): logits are divided by one scalar, chosen to give the labels the highest likelihood. The
order of the classes, and so the map, stays. Sums over pixels are whole numbers, so that tiles may
be added in any order and give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from scipy.interpolate import PchipInterpolator

from geounet.card import NODATA
from geounet.errors import InputError
from geounet.learn.metrics import ratio

BINS = 15
"""Equal bins of confidence from 0 to 1, as in the paper."""
TEMPERATURES = np.geomspace(0.1, 10.0, 41)
"""Where the likelihood is summed in one pass; 1 is among them. The answer lies between."""
WHOLE = 2.0**24
"""Confidences are summed in steps of 1/WHOLE, finer than float32 tells them apart above 1/2."""
NATS = 2.0**16
"""Likelihoods of a tile are rounded to 1/NATS."""

Reliability = Int[np.ndarray, "*stack bin 3"]
Likelihood = Int[np.ndarray, "temperature 2"]


def reliability_of(
    confidence: Float[np.ndarray, "..."], correct: Bool[np.ndarray, "..."]
) -> Int[np.ndarray, "bin 3"]:
    """Per bin: pixels, correct pixels, and the sum of confidence in steps of 1/``WHOLE``.

    ``confidence`` is the probability of the class that was mapped; the bins are open below and
    closed above.
    """
    bins = np.clip(np.ceil(confidence.ravel() * BINS).astype(np.int64) - 1, 0, BINS - 1)
    whole = np.rint(confidence.ravel().astype(np.float64) * WHOLE)
    # Sums of whole numbers are exact in float64 up to 2^53: 5e8 pixels of confidence 1.
    sums = np.bincount(bins, weights=whole, minlength=BINS).astype(np.int64)
    hits = np.bincount(bins[correct.ravel()], minlength=BINS)
    return np.stack([np.bincount(bins, minlength=BINS), hits, sums], axis=-1)


def calibration_error(reliability: Reliability) -> Float[np.ndarray, "*stack"]:
    """Expected calibration error: mean of |accuracy − confidence| over pixels, by bin."""
    pixels, hits, sums = np.moveaxis(reliability.astype(np.float64), -1, 0)
    return ratio(np.abs(hits - sums / WHOLE).sum(axis=-1), pixels.sum(axis=-1))


def reliability_rows(reliability: Int[np.ndarray, "bin 3"]) -> list[dict[str, Any]]:
    """The table behind a reliability diagram: one row per bin that has pixels."""
    return [
        {
            "above": k / BINS,
            "up_to": (k + 1) / BINS,
            "pixels": int(pixels),
            "confidence": float(total) / WHOLE / int(pixels),
            "accuracy": int(hits) / int(pixels),
        }
        for k, (pixels, hits, total) in enumerate(reliability)
        if pixels
    ]


def likelihood_of(
    logits: Float[Array, "*pixels output"], labels: UInt8[np.ndarray, "*pixels"]
) -> Likelihood:
    """Negative log-likelihood of the labels, and its slope, at each of ``TEMPERATURES``.

    Sums over the pixels, in 1/``NATS``; the slope is by 1/temperature, in which the likelihood is
    convex. Labels are class indices, and 255 is not counted. One logit is the second class's.
    """
    flat = jnp.asarray(logits, jnp.float32).reshape(-1, logits.shape[-1])
    # Rows of 4096 keep float32 sums short; float64 adds the rows up.
    padded = -len(flat) % 4096
    flat = jnp.pad(flat, ((0, padded), (0, 0))).reshape(-1, 4096, flat.shape[-1])
    known = jnp.pad(jnp.asarray(labels).ravel(), (0, padded), constant_values=NODATA)
    sums = _likelihood(flat, known.reshape(-1, 4096), jnp.asarray(1 / TEMPERATURES, jnp.float32))
    return np.rint(np.asarray(sums, np.float64).sum(axis=-1) * NATS).astype(np.int64)


def best_temperature(likelihood: Likelihood) -> float | None:
    """The temperature of least negative log-likelihood, within the range of ``TEMPERATURES``.

    Where the slope by 1/temperature passes 0, on a monotone cubic through the summed values. Where
    the surest is the likeliest, as it always is if all pixels are right, None: that is no reason to
    be so sure. Labels that ask for less and less certainty give the greatest of the range.

    Raises:
        InputError: if nothing was counted.
    """
    if not likelihood.any():
        raise InputError(
            "no labelled pixel was counted, so no temperature can be fitted; add labels"
        )
    slope = likelihood[:, 1].astype(np.float64)
    # By log(1/T), the slope gains a factor 1/T > 0: the root stays, and the curve is smoother.
    place = -np.log(TEMPERATURES)[::-1]
    curve = PchipInterpolator(place, (slope / TEMPERATURES)[::-1])
    if slope[0] <= 0:
        return None
    if slope[-1] >= 0:
        return float(TEMPERATURES[-1])
    root = curve.solve(0.0, extrapolate=False)[0]
    return float(np.exp(-root))


def untold(kept: float) -> str:
    """What to say where ``best_temperature`` finds none, and the card's stays as it was."""
    return (
        "temperature: these labels do not tell how sure to be, as where all of them are mapped "
        f"right; it stays {kept:g}: hold out more or harder ground to fit one"
    )


def fit_temperature(batches: Iterable[tuple[Array, np.ndarray]]) -> float | None:
    """The temperature for logits with their labels, batch by batch; 1 where nothing is labelled,
    None where the labels do not tell.

    Each batch is ``(… output)`` logits, as the network gives them, and ``(…)`` uint8 class indices
    with 255 where nothing is known. One pass; memory is that of one batch.
    """
    total = np.zeros((len(TEMPERATURES), 2), np.int64)
    for logits, labels in batches:
        total += likelihood_of(logits, labels)
    return best_temperature(total) if total.any() else 1.0


@partial(jax.jit)
def _likelihood(
    logits: Float[Array, "row col output"],
    labels: UInt8[Array, "row col"],
    inverses: Float[Array, " temperature"],
) -> Float[Array, "temperature 2 row"]:
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    counted = labels != NODATA
    index = jnp.where(counted, labels, jnp.uint8(0)).astype(jnp.int32)
    # Measured from the true class, so that a sure and correct pixel loses no digits.
    ahead = logits - jnp.take_along_axis(logits, index[:, :, None], axis=-1)

    def at(inverse: Float[Array, ""]) -> Float[Array, "2 row"]:
        loss = jax.nn.logsumexp(ahead * inverse, axis=-1)
        slope = (jax.nn.softmax(ahead * inverse, axis=-1) * ahead).sum(axis=-1)
        both = jnp.stack([loss, slope])
        return jnp.where(counted[None], both, jnp.zeros_like(both)).sum(axis=-1)

    # One temperature after the other: memory is that of one, however many there are.
    return jax.lax.map(at, inverses)
