"""From a finished training to its report: which validation chips are shown, and how mapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from geounet.card import NODATA, ModelCard
from geounet.learn import metrics
from geounet.learn.chip_source import Chip
from geounet.learn.learner import Scaling, classes_of, scaling_of
from geounet.learn.loop import Fitted
from geounet.learn.report_page import Training, write_training_report
from geounet.learn.sample_plot import Example, pick_examples
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training_data import TrainingData
from geounet.networks import Learnt

MOST_COMPARED = 100
"""Validation chips, evenly spread, among which the worst to the best are looked for."""


def report_training(
    out: Path, settings: TrainSettings, data: TrainingData, fitted: Fitted, card: ModelCard
) -> tuple[Path, ...]:
    """Write report.html and its pictures into ``out``; returns their paths.

    Raises:
        OutputError: naming the file that cannot be written.
    """
    kept = [record for record in fitted.records if record["epoch"] == fitted.epoch]
    confusion = kept[0].get("confusion") if kept else None
    training = Training(
        settings=settings,
        card=card,
        records=fitted.records,
        confusion=None if confusion is None else np.array(confusion, np.int64),
        examples=examples_of(fitted.network, scaling_of(data), data.validation, len(card.classes)),
        notes=data.notes,
        parts=_parts(data, settings),
        parameters=parameter_count(fitted.network),
        kept=fitted.epoch,
    )
    return write_training_report(out, training)


def examples_of(
    network: Learnt, scaling: Scaling, chips: Sequence[Chip], classes: int, count: int = 6
) -> tuple[Example, ...]:
    """``count`` chips from the worst to the best mapped; ``network`` in evaluation mode.

    No more than ``MOST_COMPARED`` chips are mapped for it, one at a time.
    """
    graph, state = nnx.split(network)
    most = min(MOST_COMPARED, len(chips))
    numbers = np.linspace(0, len(chips) - 1, most).round().astype(int).tolist()
    maps, matrices = [], [np.zeros((0, classes, classes), np.int64)]
    for number in numbers:
        image, labels = chips[number]
        mapped = np.array(classes_of(graph, state, scaling, image[None])[0])
        mapped[~np.isfinite(image).all(axis=-1)] = NODATA
        counted = np.where(mapped == NODATA, np.uint8(NODATA), labels)
        matrices.append(metrics.confusion_of(counted, mapped, classes)[None])
        maps.append(mapped)
    picked = pick_examples(np.concatenate(matrices), count)
    shown = ((*chips[numbers[i]], maps[i]) for i in picked)
    return tuple(Example(image, labels, mapped) for image, labels, mapped in shown)


def parameter_count(network: nnx.Module) -> int:
    """How many numbers the network learns."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))


def _parts(data: TrainingData, settings: TrainSettings) -> dict[str, str]:
    total = max(sum(data.class_counts), 1)
    shares = (
        f"{c.name} {100 * n / total:.2f} %"
        for c, n in zip(settings.classes, data.class_counts, strict=True)
    )
    held = len(data.validation)
    return {
        "scenes": f"{len(data.scenes)}; {len(data.validation_areas)} of them hold validation areas",
        "training": f"{total:,} labelled pixels: {', '.join(shares)}",
        "steps": f"{data.steps} of {settings.batch} chips in an epoch",
        "validation": f"{held} chips of {settings.chip} × {settings.chip} pixels"
        if held
        else "none",
    }
