"""How well a network does on chips that it does not learn from, in the midst of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from geounet.card import NODATA
from geounet.learn import metrics
from geounet.learn.chip_source import Chip
from geounet.learn.learner import Batch, Constants, examine
from geounet.learn.prefetch import Prefetch
from geounet.learn.train_settings import TrainSettings
from geounet.networks import Learnt


class Examination(NamedTuple):
    """Pixels by (truth, mapped), and the mean loss over chips; None where there are none."""

    confusion: metrics.Confusion
    loss: float | None


def validate(
    network: Learnt,
    constants: Constants,
    chips: Sequence[Chip],
    settings: TrainSettings,
    put: Callable[[Any], Any],
    stop: Callable[[], bool] = lambda: False,
) -> Examination | None:
    """Map every chip, a batch at a time, in float32; None if ``stop`` asked for an end before.

    Args:
        network: in evaluation mode.
        constants: of the training set.
        chips: of equal shape; read ahead by threads. The last batch is filled up with chips that
            count for nothing.
        settings: of the run; the loss is that of training, without the weights of pixels.
        put: lays a batch on the devices.
        stop: asked before every batch.
    """
    graph, state = nnx.split(network)
    size, classes = settings.batch, len(settings.classes)
    confusion, total = np.zeros((classes, classes), np.int64), 0.0
    starts = range(0, len(chips), size)
    with Prefetch(lambda start: _stacked(chips, start, size), starts) as batches:
        for start in starts:
            if stop():
                return None
            (images, labels), _ = batches.take()
            batch = Batch(*put((images, labels)))
            found = examine(graph, settings.loss, state, constants, batch)
            mapped, mean = jax.device_get(found)
            # As in a map, a pixel without data has no class, whatever its label says.
            seen = np.isfinite(images).all(axis=-1)
            truth = np.where(seen, labels, np.uint8(NODATA))
            confusion += metrics.confusion_of(truth, mapped, classes)
            total += float(mean) * min(size, len(chips) - start)
    return Examination(confusion, total / len(chips) if len(chips) else None)


def scores_of(found: Examination, names: Sequence[str]) -> dict[str, Any]:
    """The part of a record that validation chips give; empty without them."""
    if found.loss is None:
        return {}
    scores = {
        name: None if np.isnan(score) else round(float(score), 6)
        for name, score in zip(names, metrics.iou(found.confusion), strict=True)
    }
    known = [score for score in scores.values() if score is not None]
    return {
        "validation_loss": found.loss if np.isfinite(found.loss) else None,
        "iou": scores,
        "macro_iou": round(float(np.mean(known)), 6) if known else None,
        "confusion": found.confusion.tolist(),
    }


def _stacked(chips: Sequence[Chip], start: int, size: int) -> Chip:
    pairs = [chips[i] for i in range(start, min(start + size, len(chips)))]
    images, labels = (np.stack(part) for part in zip(*pairs, strict=True))
    missing = [(0, size - len(pairs)), (0, 0), (0, 0)]
    return (
        np.pad(images, [*missing, (0, 0)], constant_values=np.nan),
        np.pad(labels, missing, constant_values=NODATA),
    )
