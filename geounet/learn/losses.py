"""What training makes small, over the pixels that have a label.

Labels are class indices, 255 where nothing is to be learnt. One output is read as two: the
sigmoid of z is the softmax of (0, z), so every loss knows classes only. Three laws hold for all:
what is ignored moves neither loss nor gradient; weights that are all equal change nothing; a
batch without labels costs 0. Sums run over the whole batch, so that a chip without a class does
not count as a miss, and all is float32, whatever the network computed in.

optax gives the cross-entropy and the smoothing of labels. Its Dice and focal losses (0.2.8) serve
only as oracles in the tests: neither takes weights or a mask of pixels, its Dice counts classes
that the batch lacks, its focal loss knows only independent sigmoids, and Lovász it does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from geounet.card import NODATA
from geounet.errors import SettingsError
from geounet.learn.loss_settings import LossSettings

Logits = Float[Array, "tile row col output"]
Labels = UInt8[Array, "tile row col"]
Weights = Float[Array, "tile row col"]
PerClass = Float[Array, "tile row col klass"]
Scores = Float[Array, " klass"]
Scalar = Float[Array, ""]

PIXELS = (0, 1, 2)


def loss_of(
    logits: Logits,
    labels: Labels,
    settings: LossSettings,
    class_weights: Scores | None = None,
    pixel_weights: Weights | None = None,
) -> Scalar:
    """The weighted sum of the losses; 0 where no pixel has a label.

    ``class_weights`` multiply the pixels of a class in cross-entropy and focal loss, which are
    weighted means over pixels, and the classes in the others, which are weighted means over the
    classes of the batch. ``pixel_weights`` count a pixel that many times in all of them.
    """
    counted = labels != NODATA
    # Ignored logits leave here, so that nothing later can depend on them, not even through NaN.
    logits = jnp.where(counted[..., None], logits.astype(jnp.float32), jnp.float32(0))
    scores = log_probabilities(logits)
    truth = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    weights = counted.astype(scores.dtype)
    if pixel_weights is not None:
        weights *= pixel_weights.astype(scores.dtype)
    balance = jnp.ones(scores.shape[-1:], scores.dtype) if class_weights is None else class_weights
    total = jnp.zeros((), scores.dtype)
    for name, share in settings.terms.items():
        total += share * _term(name, scores, truth, weights, balance, settings)
    return total


def class_weights(counts: Sequence[int], settings: LossSettings) -> np.ndarray | None:
    """The given weights of the classes, or those that balance ``counts`` of pixels, or None.

    Balanced weights are N / (K n) for the n of N pixels that are of a class, of K classes that
    occur (King & Zeng 2001): each class weighs as much as another, and the mean over pixels is 1.
    A class that never occurs has weight 0.

    Raises:
        SettingsError: if there are not as many weights as classes.
    """
    given = settings.class_weights
    if given == "none":
        return None
    if given == "balanced":
        pixels = np.asarray(counts, np.float64)
        present = pixels > 0
        even = pixels.sum() / max(present.sum(), 1)
        return np.divide(even, pixels, out=np.zeros(len(pixels)), where=present).astype(np.float32)
    if len(given) != len(counts):
        raise SettingsError(
            f"loss.class_weights: {len(given)} weights for {len(counts)} classes; "
            "give one per class, in the order of the classes, or 'balanced'"
        )
    return np.asarray(given, np.float32)


def log_probabilities(logits: Logits) -> PerClass:
    """Log-probability of every class; they sum to 1 over the classes once exponentiated."""
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    return jax.nn.log_softmax(logits, axis=-1)


def cross_entropy(
    scores: PerClass, truth: PerClass, weights: Weights, smoothing: float = 0.0
) -> Scalar:
    """Weighted mean over pixels; ``smoothing`` spreads that share of a label over all classes."""
    each = optax.softmax_cross_entropy(scores, optax.smooth_labels(truth, smoothing))
    return _mean(each, weights)


def focal_loss(scores: PerClass, truth: PerClass, weights: Weights, gamma: float) -> Scalar:
    """Cross-entropy times (1 − p)^γ, p the probability of the true class (Lin et al. 2017)."""
    # 1 − p in logarithms, as the sum of the others: its power has a finite slope even at p = 1.
    others = jax.nn.logsumexp(scores, axis=-1, where=truth == 0)
    return _mean(-jnp.exp(gamma * others) * (truth * scores).sum(axis=-1), weights)


def tversky_losses(
    shares: PerClass, truth: PerClass, weights: Weights, alpha: float, beta: float
) -> Scores:
    """1 − TP / (TP + α FP + β FN) per class (Salehi et al. 2017); α = β = 0.5 is soft Dice."""
    hits = _sum(shares * truth, weights)
    wrong = alpha * _sum(shares * (1 - truth), weights) + beta * _sum(truth * (1 - shares), weights)
    # Not 1 − hits / sizes: the small difference near a perfect map would be lost to rounding.
    return wrong / jnp.maximum(hits + wrong, 1e-6)


def focal_tversky_losses(tversky: Scores, gamma: float) -> Scores:
    """Tversky losses to the power 1 / γ (Abraham & Khan 2019), γ from 1 to 3."""
    # The root's slope has no bound at 0: below 1e-6 a class counts as learnt.
    return jnp.maximum(tversky, 1e-6) ** (1 / gamma)


def lovasz_losses(shares: PerClass, truth: PerClass, weights: Weights) -> Scores:
    """Lovász extension of 1 − IoU per class, at errors |truth − share| (Berman et al. 2018).

    The extension is linear between changes of the errors' order: the errors times weights that
    depend on the order alone. A pixel of weight 0 adds to no sum, so it has none wherever it lies.
    """
    shares, truth = (part.reshape(weights.size, -1) for part in (shares, truth))
    return jax.vmap(_lovasz, in_axes=(1, 1, None))(shares, truth, weights.reshape(-1))


def _lovasz(
    shares: Float[Array, " pixel"], truth: Float[Array, " pixel"], weights: Float[Array, " pixel"]
) -> Scalar:
    errors = jnp.abs(truth - shares)
    order = jnp.argsort(jax.lax.stop_gradient(errors), descending=True)
    inside, outside = (weights * truth)[order], (weights * (1 - truth))[order]
    # 1 − IoU of a map that has the first i pixels wrong grows from i to i + 1 by this. Written as
    # one difference of two losses, it would lose most of its digits: a step is about 1 / pixels.
    missed = jnp.maximum(inside.sum() - jnp.cumsum(inside), 0)
    union = jnp.maximum(inside.sum() + jnp.cumsum(outside), 1e-6)
    before = jnp.maximum(union - outside, 1e-6)
    slopes = inside / union + missed * outside / (union * before)
    return (errors * jnp.zeros_like(slopes).at[order].set(slopes, unique_indices=True)).sum()


def _term(
    name: str,
    scores: PerClass,
    truth: PerClass,
    weights: Weights,
    balance: Scores,
    settings: LossSettings,
) -> Scalar:
    if name in ("cross_entropy", "focal"):
        weights *= (truth * balance[None, None, None, :]).sum(axis=-1)
        if name == "focal":
            return focal_loss(scores, truth, weights, settings.focal_gamma)
        return cross_entropy(scores, truth, weights, settings.label_smoothing)
    shares = jnp.exp(scores)
    if name == "lovasz":
        losses = lovasz_losses(shares, truth, weights)
    elif name == "dice":
        losses = tversky_losses(shares, truth, weights, 0.5, 0.5)
    else:
        alpha, beta = settings.tversky_alpha, settings.tversky_beta
        losses = tversky_losses(shares, truth, weights, alpha, beta)
        if name == "focal_tversky":
            losses = focal_tversky_losses(losses, settings.focal_tversky_gamma)
    return _mean(losses, balance * (_sum(truth, weights) > 0).astype(balance.dtype))


def _sum(each: PerClass, weights: Weights) -> Scores:
    return (each * weights[..., None]).sum(axis=PIXELS)


def _mean(each: Array, weights: Array) -> Scalar:
    """Weighted mean, 0 where all weights are."""
    total = weights.sum()
    return (each * weights).sum() / jnp.where(total > 0, total, jnp.ones_like(total))
