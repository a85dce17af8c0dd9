"""The state of training and its one compiled step: augment, forward, loss, gradient, update.

Pure JAX: what a step does depends on its arguments alone. Images are in the card's unit, NaN where
there is no data; labels are class indices, 255 where nothing is learnt. Forward, loss and
augmentation are traced under strict dtype promotion; optax's update is not, as it needs promotion.

A batch whose loss or gradient is not finite changes nothing: ``optax.apply_if_finite`` would keep
weights and optimiser only, while the running statistics and the average took the damage, and after
some such batches in a row it lets one through.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key, UInt8

from geounet.card import NODATA
from geounet.compiling import Compiled, compiled
from geounet.indices import Pairs, normalised_differences
from geounet.learn.augment import augment
from geounet.learn.augment_settings import AugmentSettings
from geounet.learn.chip_source import ChipSource
from geounet.learn.light import Inputs
from geounet.learn.loss_settings import LossSettings
from geounet.learn.losses import log_probabilities, loss_of
from geounet.learn.optimiser import has_updated, lengths_of, plateau_start, update_of
from geounet.learn.train_settings import TrainSettings
from geounet.networks import Learnt, drawn, each

Images = Float[Array, "tile row col band"]
Labels = UInt8[Array, "tile row col"]
PixelWeights = Float[Array, "tile row col"]


@partial(jax.tree_util.register_dataclass, data_fields=["mean", "std"], meta_fields=["pairs"])
@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of the network's inputs: the bands, then the index of each pair of them.

    The pairs are part of a compiled program, as the shapes are.
    """

    mean: Float[Array, " input"]
    std: Float[Array, " input"]
    pairs: Pairs = ()


class Batch(NamedTuple):
    """Chips with their labels and, where the loss asks for them, weights of their pixels."""

    images: Images
    labels: Labels
    weights: PixelWeights | None = None


class Constants(NamedTuple):
    """Of the training set, what no step changes: mean and deviation, weights of classes."""

    scaling: Scaling
    class_weights: Float[Array, " klass"] | None = None


class Learner(NamedTuple):
    """All that changes from step to step; ``averaged`` holds weights and running statistics.

    ``updates`` counts what the optimiser did: neither a skipped batch nor an accumulated one.
    """

    weights: nnx.State
    running: nnx.State
    other: nnx.State
    optimiser: optax.OptState
    plateau: optax.contrib.ReduceLROnPlateauState
    averaged: tuple[nnx.State, nnx.State]
    updates: Array


class Outcome(NamedTuple):
    """What a batch came to; it was skipped unless ``finite``."""

    loss: Float[Array, ""]
    finite: Bool[Array, ""]


@dataclass(frozen=True)
class Recipe:
    """All of a step that is fixed while training: it selects the compiled program."""

    graph: nnx.GraphDef[Learnt]
    update: optax.GradientTransformation
    augment: AugmentSettings
    loss: LossSettings
    ema: float
    precision: Literal["f32", "bf16"]
    places: int


def start(settings: TrainSettings, steps: int) -> tuple[Recipe, Learner]:
    """A network drawn from the seed, and what trains it; ``steps`` are those per epoch."""
    s, o = settings, settings.optimiser
    network = _drawn(s)
    network.train()
    graph, *parts = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
    weights, running, other = parts
    update = update_of(o, lengths_of(o, steps, s.epochs))
    places = len(s.data.bands) if s.data.stretch else 0
    recipe = Recipe(graph, update, s.augment, s.loss, o.ema, s.precision, places)
    copied = jax.tree.map(jnp.copy, (weights, running))
    learner = Learner(
        weights, running, other, update.init(weights), plateau_start(o), copied, jnp.int32(0)
    )
    return recipe, learner


def _drawn(settings: TrainSettings) -> Learnt:
    """Its weights in one program: compiled shape by shape they take four times as long."""
    s = settings

    def made() -> Learnt:
        return drawn(s.architecture, nnx.Rngs(s.seed), s.network.remat)

    network = nnx.eval_shape(made)
    nnx.update(network, Compiled(lambda: nnx.state(made()))())
    return network


def scaling_of(data: ChipSource) -> Scaling:
    """That of a training set, as JAX takes it."""
    return Scaling(
        jnp.asarray(data.mean, jnp.float32), jnp.asarray(data.std, jnp.float32), data.pairs
    )


@compiled(static_argnums=0, donate_argnums=1)
def take_step(
    recipe: Recipe,
    learner: Learner,
    key: Key[Array, ""],
    constants: Constants,
    batch: Batch,
) -> tuple[Learner, Outcome]:
    """The learner after one batch, and what came of it; the learner that is given is used up."""
    with jax.numpy_dtype_promotion("strict"):
        loss, slopes, (running, other) = _slopes(recipe, learner, key, constants, batch)
    finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(slopes))
    updates, optimiser = recipe.update.update(slopes, learner.optimiser, learner.weights)
    updates = jax.tree.map(lambda u: u * learner.plateau.scale, updates)
    weights = optax.apply_updates(learner.weights, updates)
    after = learner._replace(weights=weights, running=running, other=other, optimiser=optimiser)
    after = _averaged(after, has_updated(optimiser), recipe.ema)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, learner)
    return kept, Outcome(loss, finite)


@compiled(static_argnums=0)
def logits_of(
    graph: nnx.GraphDef[Learnt], state: nnx.State, scaling: Scaling, images: Images
) -> Float[Array, "tile row col output"]:
    """What a network in evaluation mode says of every pixel."""
    return nnx.merge(graph, state)(_normalised(images, scaling))


def classes_of(
    graph: nnx.GraphDef[Learnt], state: nnx.State, scaling: Scaling, images: Images
) -> UInt8[Array, "tile row col"]:
    """The most probable class of every pixel, by a network in evaluation mode."""
    # Not compiled as one: who wants logits and who wants classes share one compiled network.
    logits = logits_of(graph, state, scaling, images)
    return log_probabilities(logits).argmax(axis=-1).astype(jnp.uint8)


@compiled(static_argnums=(0, 1))
def examine(
    graph: nnx.GraphDef[Learnt],
    loss: LossSettings,
    state: nnx.State,
    constants: Constants,
    batch: Batch,
) -> tuple[UInt8[Array, "tile row col"], Float[Array, ""]]:
    """Classes of every pixel and the batch's loss, by a network in evaluation mode."""
    logits = nnx.merge(graph, state)(_normalised(batch.images, constants.scaling))
    labels = _with_data(batch.images, batch.labels)
    classes = log_probabilities(logits).argmax(axis=-1).astype(jnp.uint8)
    return classes, loss_of(logits, labels, loss, constants.class_weights)


def network_of(recipe: Recipe, learner: Learner) -> Learnt:
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


def _slopes(
    recipe: Recipe, learner: Learner, key: Key[Array, ""], constants: Constants, batch: Batch
) -> tuple[Array, nnx.State, tuple[nnx.State, nnx.State]]:
    """Loss, its gradient, and the network's state after the batch.

    In bf16 the network computes in it; weights, statistics, loss and gradient stay in float32.
    """
    images, labels, pixel_weights = augment(
        key,
        batch.images,
        batch.labels,
        recipe.augment,
        batch.weights,
        # Indices are computed from what becomes of the bands, and so have no part in it.
        Inputs(constants.scaling.mean[: batch.images.shape[-1]], recipe.places),
    )
    labels = _with_data(images, labels)
    dtype = jnp.bfloat16 if recipe.precision == "bf16" else jnp.float32
    images = _normalised(images, constants.scaling).astype(dtype)

    def objective(moved: nnx.State) -> tuple[Array, tuple[Array, tuple[nnx.State, nnx.State]]]:
        # ``copy``: the running statistics are updated inside, and must belong to this trace.
        network = nnx.merge(recipe.graph, moved, learner.running, learner.other, copy=True)
        losses = [
            loss_of(logits, labels, recipe.loss, constants.class_weights, pixel_weights)
            for logits in each(network, images)
        ]
        _, _, *updated = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
        # Of the sum each member has the gradient that it would have alone, before clipping.
        total = sum(losses[1:], start=losses[0])
        return total, (total / len(losses), (updated[0], updated[1]))

    (_, (loss, states)), slopes = jax.value_and_grad(objective, has_aux=True)(learner.weights)
    return loss, slopes, states


def _averaged(learner: Learner, updated: Array, ema: float) -> Learner:
    """With the averages moved on, if the weights were."""
    updates = learner.updates + updated
    # Early averages must not remember the random start for as long as the decay alone would.
    decay = jnp.where(updated, jnp.minimum(ema, (updates - 1) / (updates + 9)), 1.0)
    averaged = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new,
        learner.averaged,
        (learner.weights, learner.running),
    )
    return learner._replace(averaged=averaged, updates=updates)


def _normalised(images: Images, scaling: Scaling) -> Images:
    mean, std = (part[None, None, None, :] for part in (scaling.mean, scaling.std))
    seen = jnp.isfinite(images).all(axis=-1, keepdims=True)
    if scaling.pairs:
        indices = normalised_differences(images, scaling.pairs)
        images = jnp.concatenate([images, indices], axis=-1)
    return jnp.where(seen, (images - mean) / std, jnp.zeros_like(images))


def _with_data(images: Images, labels: Labels) -> Labels:
    return jnp.where(jnp.isfinite(images).all(axis=-1), labels, jnp.uint8(NODATA))
