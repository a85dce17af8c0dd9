"""From settings to optax: how fast the weights move, and by which rule."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from geounet.learn.optimiser_settings import OptimiserSettings


class Lengths(NamedTuple):
    """Updates of the warm-up and of the whole run."""

    warmup: int
    total: int


def lengths_of(o: OptimiserSettings, steps: int, epochs: int) -> Lengths:
    """``steps`` are batches per epoch; ``accumulate`` of them, across epochs, make an update."""
    total = max(1, epochs * steps // o.accumulate)
    return Lengths(min(round(o.warmup_epochs * steps / o.accumulate), total - 1), total)


def schedule_of(o: OptimiserSettings, lengths: Lengths) -> optax.Schedule:
    """Learning rate by update: linear warm-up from a tenth, then constant or half a cosine.

    Reducing on a plateau starts from the constant schedule; its factor is applied to the update.
    """
    rate, (warmup, total) = o.learning_rate, lengths
    if o.schedule == "cosine":
        final = rate * o.final_rate
        return optax.warmup_cosine_decay_schedule(rate / 10, rate, warmup, total, final)
    if not warmup:
        # optax's would stay at its first value.
        return optax.constant_schedule(rate)
    return optax.warmup_constant_schedule(rate / 10, rate, warmup)


# Remembered, as an equal optimiser is the same object then, and its step is not compiled again.
@lru_cache(maxsize=8)
def update_of(o: OptimiserSettings, lengths: Lengths) -> optax.GradientTransformation:
    """Clipping, the rule, decay and the rate; with ``accumulate``, once for so many batches.

    The gradient is clipped after it was accumulated, as that of the larger batch would be.
    """
    decay = o.weight_decay if o.kind == "adamw" else 0.0
    chain = optax.chain(
        optax.identity() if o.clip_norm is None else optax.clip_by_global_norm(o.clip_norm),
        optax.trace(o.momentum) if o.kind == "sgd" else optax.scale_by_adam(),
        # Biases and batch-norm parameters are vectors: pulling them to 0 only fights the data.
        optax.add_decayed_weights(decay, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
        optax.scale_by_learning_rate(schedule_of(o, lengths)),
    )
    if o.accumulate == 1:
        return chain
    return optax.MultiSteps(chain, o.accumulate).gradient_transformation()


def has_updated(state: optax.OptState) -> Array:
    """Whether the batch that led to ``state`` completed an update."""
    if isinstance(state, optax.MultiStepsState):
        return state.mini_step == 0
    return jnp.bool_(True)


def plateau_start(o: OptimiserSettings) -> optax.contrib.ReduceLROnPlateauState:
    """No epoch has been scored, and the rate is whole."""
    return _plateau(o).init(jnp.float32(0))


def plateau_after(
    o: OptimiserSettings, state: optax.contrib.ReduceLROnPlateauState, score: float
) -> optax.contrib.ReduceLROnPlateauState:
    """The state once an epoch scored ``score``, where less is better."""
    if o.schedule != "plateau":
        return state
    _, after = _plateau(o).update(jnp.float32(1), state, value=jnp.float32(score))
    return after


def rate_after(
    o: OptimiserSettings, lengths: Lengths, updates: int, factor: Float[Array, ""]
) -> float:
    """The learning rate of the last of so many updates."""
    return float(schedule_of(o, lengths)(max(updates - 1, 0)) * factor)


def _plateau(o: OptimiserSettings) -> optax.GradientTransformationExtraArgs:
    p = o.plateau
    return optax.contrib.reduce_on_plateau(factor=p.factor, patience=p.patience, min_scale=p.least)
