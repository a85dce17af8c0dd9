"""Training a U-Net on labelled rasters: one call, one folder, the same bytes from the same seed.

The weights that are kept are those of the last epoch, averaged if ``ema`` asks for it: nothing is
chosen on the validation samples, so their score stays honest. With ``keep: best`` or ``patience``
it is chosen on them, and the card says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import ValidationError

from geounet.card import NODATA, ModelCard, Stretch
from geounet.errors import SettingsError
from geounet.job import refuse_difference
from geounet.learn import metrics
from geounet.learn.calibration import fit_temperature, untold
from geounet.learn.chip_source import Chip, ChipSource
from geounet.learn.identity import WITHOUT_EFFECT, held_out_by
from geounet.learn.labelled import LabelledScene, shared_scaling
from geounet.learn.learner import Scaling, classes_of, logits_of, scaling_of
from geounet.learn.loop import Fitted, fit
from geounet.learn.records import CONFIG, Record, read_records, require_tensorboard
from geounet.learn.standing import best_of
from geounet.learn.stepper import check
from geounet.learn.train_settings import TrainSettings, load_settings
from geounet.learn.training_data import TrainingData, load_training_data
from geounet.learn.training_folder import MODEL, training_folder
from geounet.learn.training_report import report_training
from geounet.model_file import load_card, outgrown, save_model
from geounet.networks import Learnt, reach
from geounet.reporting import Reporter, Silence
from geounet.stop import stop_on_signals


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves: the model file with its card, one record per epoch, and pixels by (truth,
    mapped) of the validation samples, by the network that was kept."""

    model: Path
    card: ModelCard
    epochs: tuple[Record, ...]
    confusion: metrics.Confusion | None


def train(
    settings: TrainSettings,
    out: Path,
    *,
    reporter: Reporter | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> TrainResult:
    """Learn from ``settings.data``; ``out`` gets the model, its metrics, settings and report.

    Args:
        settings: everything that decides the result.
        out: a new or empty folder, or with ``resume`` that of an interrupted run.
        reporter: hears of progress, and of each epoch's record.
        overwrite: replace what ``out`` holds.
        resume: go on from the newest checkpoint in ``out``.

    Raises:
        SettingsError: if the settings cannot hold, differ from those of the run to resume, or lead
            to a loss that is no number.
        InputError: if an image or label cannot be used.
        OutputError: if ``out`` holds something, or cannot be written.
        InterruptedJobError: if a signal asked for an end; a checkpoint was saved.
    """
    reporter = reporter or Silence()
    if settings.tensorboard:
        require_tensorboard()
    data = load_training_data(settings)
    check(settings, data)
    # A card that cannot be written is found before the time is spent.
    blank = _blank_card(settings, data)
    for note in data.notes:
        reporter.note(note)
    with training_folder(out, overwrite, resume) as is_finished:
        if is_finished:
            _refuse_other_settings(out, settings)
            reporter.note(f"{out}: is finished already, nothing to resume")
            return _result(out, load_card(out / MODEL), read_records(out), settings)
        with stop_on_signals() as stop:
            fitted = fit(settings, data, out, reporter=reporter, stop=stop, resume=resume)
        _refuse_diverged(fitted.network, settings)
        temperature = temperature_of(fitted.network, data)
        if temperature is None:
            reporter.note(untold(blank.temperature))
        else:
            blank = blank.model_copy(update={"temperature": temperature})
        card = save_model(out / MODEL, fitted.network, _card(blank, settings, fitted))
        report_training(out, settings, data, fitted, card)
    return _result(out, card, fitted.records, settings)


def confusions(
    network: Learnt, scaling: Scaling, chips: Sequence[Chip], classes: int
) -> np.ndarray[Any, Any]:
    """Per chip, pixels by (truth, mapped); ``network`` must be in evaluation mode."""
    graph, state = nnx.split(network)
    found = [np.zeros((0, classes, classes), np.int64)]
    for image, labels in (chips[i] for i in range(len(chips))):
        mapped = np.asarray(classes_of(graph, state, scaling, jnp.asarray(image[None]))[0])
        # As in a map, a pixel without data has no class, whatever its label says.
        truth = np.where(np.isfinite(image).all(axis=-1), labels, np.uint8(metrics.NODATA))
        found.append(metrics.confusion_of(truth, mapped, classes)[None])
    return np.concatenate(found)


def temperature_of(network: Learnt, data: ChipSource) -> float | None:
    """That of the card: the likeliest on the validation chips; 1 where there are none, None where
    they do not tell."""
    scaling = scaling_of(data)
    graph, state = nnx.split(network)

    def mapped() -> Iterator[tuple[jax.Array, np.ndarray[Any, Any]]]:
        for image, labels in (data.validation[i] for i in range(len(data.validation))):
            known = np.where(np.isfinite(image).all(axis=-1), labels, np.uint8(NODATA))
            yield logits_of(graph, state, scaling, image[None])[0], known

    return fit_temperature(mapped())


def _refuse_other_settings(out: Path, settings: TrainSettings) -> None:
    saved = load_settings(out / CONFIG)
    pair = (s.model_dump(mode="json", exclude=WITHOUT_EFFECT) for s in (saved, settings))
    refuse_difference(out, *pair)


def _result(
    out: Path, card: ModelCard, records: tuple[Record, ...], settings: TrainSettings
) -> TrainResult:
    chosen = _epoch_kept(records, settings)
    confusion = records[chosen - 1].get("confusion")
    counts = None if confusion is None else np.array(confusion, np.int64)
    return TrainResult(out / MODEL, card, records, counts)


def _epoch_kept(records: Sequence[Record], settings: TrainSettings) -> int:
    return best_of(records, settings.watch) + 1 if settings.keep == "best" else len(records)


def _blank_card(settings: TrainSettings, data: TrainingData) -> ModelCard:
    """The card of the model to be: all but what it comes to.

    Raises:
        SettingsError: naming the field that no card can hold.
    """
    s = settings
    held, (scale, offset) = data.validation_areas, shared_scaling(data.scenes)
    shared = s.model_dump(
        include={"name", "summary", "level", "unit", "pixel_size", "training_data"}
    )
    try:
        return ModelCard(
            **shared,
            training_licence=s.training_licence,
            classes=s.classes,
            architecture=s.architecture,
            bands=tuple(s.data.bands),
            scale=scale,
            offset=offset,
            mean=data.mean,
            std=data.std,
            stretch=_stretch_of(s, data, (scale, offset)),
            indices=s.data.indices,
            held_out=held_out_by({data.scenes[k].name: w for k, w in held.items()}),
            reach=reach(s.architecture),
            training_command="geounet train config.yaml OUT",
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        text = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"the model's card cannot hold {place}: {text}; change it") from error


def _refuse_diverged(network: Learnt, settings: TrainSettings) -> None:
    if outgrown(network, settings.architecture):
        raise SettingsError(
            f"optimiser.learning_rate: {settings.optimiser.learning_rate:g} is too high: the "
            "training diverged, its weights outgrew float16; lower it, and start again with "
            "--overwrite"
        )


def _card(blank: ModelCard, settings: TrainSettings, fitted: Fitted) -> ModelCard:
    accuracy = _accuracy(settings, fitted.records[fitted.epoch - 1])
    return blank.model_copy(update={"accuracy": accuracy})


def _stretch_of(
    settings: TrainSettings, data: TrainingData, scaling: tuple[float, float]
) -> Stretch | None:
    """The display stretch, and what the percentiles are on average in the training scenes."""
    s = settings.data.stretch
    if s is None:
        return None
    scale, offset = scaling
    display = np.mean([scene.bounds for scene in _learnt(data)], axis=0) * scale + offset
    pairs = tuple((float(low), float(high)) for low, high in display)
    return Stretch(low=s.low, high=s.high, display=pairs)


def _learnt(data: TrainingData) -> list[LabelledScene]:
    """The scenes that are not held out as a whole."""
    held = data.validation_areas
    return [s for k, s in enumerate(data.scenes) if s.grid.whole not in held.get(k, ())]


def _accuracy(settings: TrainSettings, record: Record) -> dict[str, str]:
    how = "on validation chips of training"
    if settings.keep == "best" or settings.patience is not None:
        how += ", which the epoch was chosen on: too good by that choice"
    scores = record.get("iou", {}).items()
    return {f"IoU {name}": f"{score:.4f} {how}" for name, score in scores if score is not None}
