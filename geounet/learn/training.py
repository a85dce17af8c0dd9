"""Training a U-Net on labelled rasters: one call, one folder, the same bytes from the same seed.

Batch i of epoch e is a function of (seed, e, i) alone, and so is its augmentation. The weights
that are kept are those of the last epoch, averaged if ``ema`` asks for it: nothing is chosen on
the validation samples, so their score stays honest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from geounet.atomic import write_bytes
from geounet.card import Architecture, ModelCard
from geounet.errors import OutputError, SettingsError
from geounet.learn import metrics
from geounet.learn.chips import check_labels, find_chips, split_chips
from geounet.learn.learner import (
    Scaling,
    classes_of,
    key_of,
    network_of,
    schedule_of,
    start,
    take_step,
)
from geounet.learn.samples import Samples, statistics
from geounet.learn.train_settings import TrainSettings, to_yaml
from geounet.model_file import save_model
from geounet.unet import UNet, reach

Record = dict[str, Any]


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves: the model file with its card, and one record per epoch."""

    model: Path
    card: ModelCard
    epochs: tuple[Record, ...]
    confusion: metrics.Confusion | None


def train(
    settings: TrainSettings,
    out: Path,
    *,
    report: Callable[[Record], None] | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Learn from ``settings.data``; ``out`` gets model.safetensors, metrics.jsonl, config.yaml.

    Args:
        settings: everything that decides the result.
        out: a new or empty folder.
        report: called with each epoch's record.
        overwrite: replace what ``out`` holds.

    Raises:
        SettingsError: if the settings cannot hold, or the loss stops being a number.
        InputError: if an image or label cannot be used.
        OutputError: if ``out`` holds something, or cannot be written.
    """
    data, classes, side = settings.data, settings.classes, settings.chip
    chips = find_chips(data, side)
    check_labels(chips, data, classes)
    kept, held = split_chips(chips, data.validation)
    training, validation = (
        Samples(part, data, classes, side, settings.cache_mb) for part in (kept, held)
    )
    _prepare(out, overwrite)
    write_bytes(out / "config.yaml", to_yaml(settings).encode())
    mean, std = statistics((training[i][0] for i in range(len(training))), list(data.bands))
    scaling = (jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))
    records: list[Record] = []
    for network, record in _epochs(settings, training, scaling):
        matrices = confusions(network, scaling, validation, len(classes))
        records.append(record | _scores(settings, matrices.sum(axis=0)))
        write_bytes(out / "metrics.jsonl", "".join(map(_line, records)).encode())
        if report:
            report(records[-1])
    card = _card(settings, mean, std, records[-1])
    card = save_model(out / "model.safetensors", network, card)
    confusion = matrices.sum(axis=0) if len(validation) else None
    return TrainResult(out / "model.safetensors", card, tuple(records), confusion)


def confusions(
    network: UNet, scaling: Scaling, samples: Samples, classes: int
) -> np.ndarray[Any, Any]:
    """Per sample, pixels by (truth, mapped); ``network`` must be in evaluation mode."""
    graph, state = nnx.split(network)
    found = [np.zeros((0, classes, classes), np.int64)]
    for image, labels in (samples[i] for i in range(len(samples))):
        mapped = np.asarray(classes_of(graph, state, scaling, image[None])[0])
        # As in a map, a pixel without data has no class, whatever its label says.
        truth = np.where(np.isfinite(image).all(axis=-1), labels, np.uint8(metrics.NODATA))
        found.append(metrics.confusion_of(truth, mapped, classes)[None])
    return np.concatenate(found)


def _epochs(
    settings: TrainSettings, samples: Samples, scaling: Scaling
) -> Iterator[tuple[UNet, Record]]:
    """The network as it stands after each epoch, in evaluation mode, with the epoch's record."""
    steps = -(-len(samples) // settings.batch)
    schedule = schedule_of(settings, steps)
    recipe, learner = start(settings, steps)
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        losses: list[Array] = []
        for i, (images, labels) in enumerate(_batches(settings, samples, epoch)):
            key = key_of(settings.seed, epoch, i)
            learner, loss = take_step(recipe, learner, key, scaling, images, labels)
            losses.append(loss)
            # Reading runs ahead of the device by one batch, never by the whole epoch.
            jax.block_until_ready(losses[max(i - 1, 0)])
        mean_loss = float(np.mean(losses))
        if not np.isfinite(mean_loss):
            raise SettingsError(
                f"epoch {epoch + 1}: the loss is {mean_loss}; lower optimiser.learning_rate "
                f"(now {settings.optimiser.learning_rate}) or check the images' scale"
            )
        seconds = time.perf_counter() - began
        yield (
            network_of(recipe, learner),
            {
                "epoch": epoch + 1,
                "loss": mean_loss,
                "learning_rate": float(schedule((epoch + 1) * steps - 1)),
                "seconds": round(seconds, 3),
                "samples_per_second": round(steps * settings.batch / seconds, 2),
            },
        )


def _batches(
    settings: TrainSettings, samples: Samples, epoch: int
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Every sample once, in an order drawn from (seed, epoch); the last batch is filled up."""
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(samples))
    steps = -(-len(samples) // settings.batch)
    for chosen in np.resize(order, (steps, settings.batch)):
        images, labels = zip(*(samples[int(i)] for i in chosen), strict=True)
        yield np.stack(images), np.stack(labels)


def _prepare(out: Path, overwrite: bool) -> None:
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out}: is a file; name a folder for the model")
        if out.is_dir() and any(out.iterdir()):
            if not overwrite:
                raise OutputError(f"{out}: is not empty; choose another, or overwrite it")
            for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
                (out / name).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error


def _scores(settings: TrainSettings, confusion: metrics.Confusion) -> Record:
    if not confusion.any():
        return {}
    scores = zip(settings.classes, metrics.iou(confusion), strict=True)
    return {"iou": {c.name: None if np.isnan(s) else round(float(s), 4) for c, s in scores}}


def _card(
    settings: TrainSettings, mean: Sequence[float], std: Sequence[float], last: Record
) -> ModelCard:
    architecture: Architecture = settings.architecture
    validation = settings.data.validation
    accuracy = {
        f"IoU {name}": f"{score} on chips whose {validation.column} was held out"
        for name, score in last.get("iou", {}).items()
        if validation
    }
    shared = settings.model_dump(
        include={"name", "summary", "level", "unit", "pixel_size", "training_data"}
    )
    return ModelCard(
        **shared,
        training_licence=settings.training_licence,
        classes=settings.classes,
        architecture=architecture,
        bands=tuple(settings.data.bands),
        scale=settings.data.scale or 1.0,
        offset=settings.data.offset or 0.0,
        mean=tuple(mean),
        std=tuple(std),
        reach=reach(architecture),
        training_command="geounet train config.yaml OUT",
        accuracy=accuracy,
    )


def _line(record: Record) -> str:
    return json.dumps(record, sort_keys=True) + "\n"
