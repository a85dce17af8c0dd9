"""What training makes small: cross-entropy and soft Dice, over the pixels that have a label.

Labels are class indices, 255 where nothing is to be learnt. One output is read as two: the
sigmoid of z is the softmax of (0, z), so both losses know classes only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from geounet.card import NODATA
from geounet.learn.loss_settings import LossSettings

Logits = Float[Array, "tile row col output"]
Labels = UInt8[Array, "tile row col"]
PerClass = Float[Array, "tile row col klass"]


def loss_of(logits: Logits, labels: Labels, settings: LossSettings) -> Float[Array, ""]:
    """The weighted sum of the losses; 0 where no pixel has a label."""
    scores = log_probabilities(logits)
    counted = labels != NODATA
    truth = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    total = jnp.zeros((), scores.dtype)
    if settings.cross_entropy:
        entropy = cross_entropy(scores, truth, counted, settings.label_smoothing)
        total += settings.cross_entropy * entropy
    if settings.dice:
        total += settings.dice * dice_loss(jnp.exp(scores), truth, counted)
    return total


def log_probabilities(logits: Logits) -> PerClass:
    """Log-probability of every class; they sum to 1 over the classes once exponentiated."""
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    return jax.nn.log_softmax(logits, axis=-1)


def cross_entropy(
    scores: PerClass, truth: PerClass, counted: Array, smoothing: float = 0.0
) -> Float[Array, ""]:
    """Mean over counted pixels; ``smoothing`` spreads that share of each label over all classes."""
    target = truth * (1 - smoothing) + smoothing / truth.shape[-1]
    each = -(target * scores).sum(axis=-1)
    pixels = jnp.maximum(counted.sum(), 1).astype(scores.dtype)
    return jnp.where(counted, each, jnp.zeros_like(each)).sum() / pixels


def dice_loss(shares: PerClass, truth: PerClass, counted: Array) -> Float[Array, ""]:
    """1 − soft Dice (Milletari et al. 2016), the mean over the batch's classes.

    Sums run over the whole batch, so that a chip without a class does not count as a miss.
    """
    keep = counted[..., None].astype(shares.dtype)
    hits = (shares * truth * keep).sum(axis=(0, 1, 2))
    labelled = (truth * keep).sum(axis=(0, 1, 2))
    sizes = (shares * keep).sum(axis=(0, 1, 2)) + labelled
    present = (labelled > 0).astype(shares.dtype)
    each = 1 - 2 * hits / jnp.maximum(sizes, 1e-6)
    return (each * present).sum() / jnp.maximum(present.sum(), 1)
