"""The state of training and its one compiled step: augment, forward, loss, gradient, update.

Pure JAX: what a step does depends on its arguments alone. Images are in the card's unit, NaN where
there is no data; labels are class indices, 255 where nothing is learnt. Forward, loss and
augmentation are traced under strict dtype promotion; optax's update is not, as it needs promotion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from geounet.card import NODATA
from geounet.learn.augment import augment
from geounet.learn.augment_settings import AugmentSettings
from geounet.learn.loss_settings import LossSettings
from geounet.learn.losses import log_probabilities, loss_of
from geounet.learn.optimiser_settings import OptimiserSettings
from geounet.learn.train_settings import TrainSettings
from geounet.unet import UNet

Images = Float[Array, "tile row col band"]
Labels = UInt8[Array, "tile row col"]
Scaling = tuple[Float[Array, " band"], Float[Array, " band"]]


class Learner(NamedTuple):
    """All that changes from step to step; ``averaged`` holds weights and running statistics."""

    weights: nnx.State
    running: nnx.State
    other: nnx.State
    optimiser: optax.OptState
    averaged: tuple[nnx.State, nnx.State]
    step: Array


@dataclass(frozen=True)
class Recipe:
    """All of a step that is fixed while training: it selects the compiled program."""

    graph: nnx.GraphDef[UNet]
    update: optax.GradientTransformation
    augment: AugmentSettings
    loss: LossSettings
    ema: float


def start(settings: TrainSettings, steps: int) -> tuple[Recipe, Learner]:
    """A network drawn from the seed, and what trains it; ``steps`` are those per epoch."""
    network = UNet(settings.architecture, nnx.Rngs(settings.seed))
    network.train()
    graph, *parts = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
    weights, running, other = parts
    update = _optimiser(settings.optimiser, *_lengths(settings, steps))
    recipe = Recipe(graph, update, settings.augment, settings.loss, settings.optimiser.ema)
    copied = jax.tree.map(jnp.copy, (weights, running))
    learner = Learner(weights, running, other, update.init(weights), copied, jnp.int32(0))
    return recipe, learner


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def take_step(
    recipe: Recipe,
    learner: Learner,
    key: Key[Array, ""],
    scaling: Scaling,
    images: Images,
    labels: Labels,
) -> tuple[Learner, Float[Array, ""]]:
    """The learner after one batch, and the batch's loss; the learner that is given is used up."""
    with jax.numpy_dtype_promotion("strict"):
        images, labels = augment(key, images, labels, recipe.augment)
        images, labels = _normalised(images, scaling), _with_data(images, labels)

        def objective(weights: nnx.State) -> tuple[Array, tuple[nnx.State, nnx.State]]:
            # ``copy``: the running statistics are updated inside, and must belong to this trace.
            network = nnx.merge(recipe.graph, weights, learner.running, learner.other, copy=True)
            loss = loss_of(network(images), labels, recipe.loss)
            _, _, *updated = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
            return loss, (updated[0], updated[1])

        (loss, (running, other)), slopes = jax.value_and_grad(objective, has_aux=True)(
            learner.weights
        )
    updates, optimiser = recipe.update.update(slopes, learner.optimiser, learner.weights)
    weights = optax.apply_updates(learner.weights, updates)
    step = learner.step + 1
    # Early averages must not remember the random start for as long as the decay alone would.
    decay = jnp.minimum(recipe.ema, (step - 1) / (step + 9))
    averaged = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new, learner.averaged, (weights, running)
    )
    return Learner(weights, running, other, optimiser, averaged, step), loss


@partial(jax.jit, static_argnums=0)
def classes_of(
    graph: nnx.GraphDef[UNet], state: nnx.State, scaling: Scaling, images: Images
) -> UInt8[Array, "tile row col"]:
    """The most probable class of every pixel, by a network in evaluation mode."""
    logits = nnx.merge(graph, state)(_normalised(images, scaling))
    return log_probabilities(logits).argmax(axis=-1).astype(jnp.uint8)


def _normalised(images: Images, scaling: Scaling) -> Images:
    mean, std = (part[None, None, None, :] for part in scaling)
    seen = jnp.isfinite(images).all(axis=-1, keepdims=True)
    return jnp.where(seen, (images - mean) / std, jnp.zeros_like(images))


def _with_data(images: Images, labels: Labels) -> Labels:
    return jnp.where(jnp.isfinite(images).all(axis=-1), labels, jnp.uint8(NODATA))


def network_of(recipe: Recipe, learner: Learner) -> UNet:
    """The network as it would be shipped now, in evaluation mode."""
    averaged = learner.averaged if recipe.ema else (learner.weights, learner.running)
    # Copied, because the next step donates, and so destroys, what the learner holds.
    state = jax.tree.map(jnp.copy, (*averaged, learner.other))
    network = nnx.merge(recipe.graph, *state)
    network.eval()
    return network


def key_of(seed: int, epoch: int, batch: int) -> Key[Array, ""]:
    """The key of a batch: it depends on no batch before it."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), epoch), batch)


def schedule_of(settings: TrainSettings, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then half a cosine; ``steps`` are those per epoch."""
    return _schedule(settings.optimiser, *_lengths(settings, steps))


def _lengths(settings: TrainSettings, steps: int) -> tuple[int, int]:
    """Steps of the warm-up and of the whole run."""
    total = settings.epochs * steps
    return min(round(settings.optimiser.warmup_epochs * steps), total - 1), total


def _schedule(o: OptimiserSettings, warmup: int, total: int) -> optax.Schedule:
    rate = o.learning_rate
    return optax.warmup_cosine_decay_schedule(rate / 10, rate, warmup, total, rate * o.final_rate)


# Remembered, as an equal optimiser is the same object then, and its step is not compiled again.
@lru_cache(maxsize=8)
def _optimiser(o: OptimiserSettings, warmup: int, total: int) -> optax.GradientTransformation:
    decay = o.weight_decay if o.kind == "adamw" else 0.0
    # Biases and batch-norm parameters are vectors: pulling them to 0 only fights the data.
    return optax.chain(
        optax.clip_by_global_norm(o.clip_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(decay, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
        optax.scale_by_learning_rate(_schedule(o, warmup, total)),
    )
