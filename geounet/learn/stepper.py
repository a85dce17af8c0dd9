"""One step after another on the devices, and the count of what they came to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from geounet.errors import SettingsError, lacks_memory
from geounet.learn.border import border_weights
from geounet.learn.chip_source import ChipSource
from geounet.learn.devices import local_devices
from geounet.learn.learner import Batch, Constants, Outcome, key_of, scaling_of, start
from geounet.learn.losses import class_weights
from geounet.learn.optimiser import lengths_of, plateau_after, rate_after
from geounet.learn.records import Record
from geounet.learn.remat import step_of
from geounet.learn.standing import Standing, score_of
from geounet.learn.train_settings import TrainSettings
from geounet.machine import device_name

SKIPS_IN_A_ROW = 10
"""So many batches in a row without a finite loss and gradient end the run."""


def check(settings: TrainSettings, data: ChipSource) -> None:
    """Raise if the settings do not fit the data or the devices: nothing is written by then.

    Raises:
        SettingsError: naming the field, if the run needs validation chips and has none, if the
            devices cannot share a batch, or if the weights of classes do not fit.
    """
    s = settings
    local_devices(s.batch)
    class_weights(data.class_counts, s.loss)
    lengths_of(s.optimiser, data.steps, s.epochs)
    needs = {
        "optimiser.schedule: plateau": s.optimiser.schedule == "plateau",
        "keep: best": s.keep == "best",
        "patience": s.patience is not None,
    }
    asked = [name for name, needed in needs.items() if needed]
    if asked and not len(data.validation):
        raise SettingsError(
            f"{asked[0]} needs validation samples and there are none; name some under data"
        )


@contextmanager
def enough_memory(settings: TrainSettings) -> Iterator[None]:
    """What is done within takes the memory of a whole batch.

    Raises:
        SettingsError: if there is less than that, naming the settings that memory depends on.
    """
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        s = settings
        raise SettingsError(
            f"batch: {s.batch} chips of {s.chip} × {s.chip} pixels take more memory than "
            f"{device_name()} has; lower batch (optimiser.accumulate makes up for it), chip or "
            "network.base_filters, or set network.remat: true"
        ) from error


class Stepper:
    """The learner and its standing; ``settle`` brings the second up to the first."""

    def __init__(self, settings: TrainSettings, data: ChipSource) -> None:
        """A new learner, drawn from the seed.

        Raises:
            SettingsError: if the devices cannot share a batch, or the weights of classes do not
                fit.
        """
        self._settings, self._data = settings, data
        self.devices = local_devices(settings.batch)
        weights = class_weights(data.class_counts, settings.loss)
        constants = Constants(scaling_of(data), None if weights is None else jnp.asarray(weights))
        recipe, learner = start(settings, data.steps)
        self.recipe, self.learner = recipe, self.devices.share(learner)
        self.constants, self.standing = self.devices.share(constants), Standing()
        self._pending: list[Outcome] = []
        self._lap, self._has_compiled = 0.0, False

    def read(self, which: tuple[int, int]) -> Batch:
        """Batch i of an epoch, on the devices; made for reading threads."""
        images, labels = self._data.batch(*which)
        loss, weights = self._settings.loss, None
        if loss.border:
            weights = np.stack([border_weights(chip, loss) for chip in labels])
        return Batch(*self.devices.divide((images, labels, weights)))

    def begin(self) -> None:
        """From here on time is spent on steps."""
        self._lap = time.perf_counter()

    def take(self, batch: Batch, waited: float) -> None:
        """One step; the one before it is counted while the devices work on this one.

        Raises:
            SettingsError: if too many batches in a row were skipped.
        """
        standing = self.standing
        key = key_of(self._settings.seed, standing.epoch, standing.index)
        take_step = step_of(self._settings.network.remat)
        self.learner, outcome = take_step(self.recipe, self.learner, key, self.constants, batch)
        waited += standing.waited
        self.standing = replace(standing, index=standing.index + 1, waited=waited)
        before, self._pending = self._pending, [outcome]
        self._count(before)

    def settle(self) -> None:
        """Wait for the devices, and count what they did.

        Raises:
            SettingsError: if too many batches in a row were skipped.
        """
        before, self._pending = self._pending, []
        self._count(before)

    def end_epoch(self, record: Record) -> None:
        """Go to the next epoch, at the rate that this one's score leaves."""
        o, standing = self._settings.optimiser, self.standing
        score = score_of(record, self._settings.watch)
        plateau = plateau_after(o, self.learner.plateau, score)
        self.learner = self.learner._replace(plateau=self.devices.share(plateau))
        records = (*standing.records, dict(record))
        self.standing = Standing(standing.epoch + 1, in_a_row=standing.in_a_row, records=records)

    @property
    def pending(self) -> int:
        """Steps that were taken and are not counted yet."""
        return len(self._pending)

    @property
    def learning_rate(self) -> float:
        """Of the last update."""
        s, updates = self._settings, int(self.learner.updates)
        lengths = lengths_of(s.optimiser, self._data.steps, s.epochs)
        return rate_after(s.optimiser, lengths, updates, self.learner.plateau.scale)

    def _count(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        for outcome in outcomes:
            loss, finite = jax.device_get(outcome)
            self.standing = self.standing.after(float(loss), bool(finite))
        now = time.perf_counter()
        self.standing = self.standing.lasted(now - self._lap, not self._has_compiled)
        self._lap, self._has_compiled = now, True
        s = self.standing
        if s.in_a_row >= SKIPS_IN_A_ROW:
            raise SettingsError(
                f"epoch {s.epoch + 1}: {s.in_a_row} batches in a row had no finite loss or "
                "gradient; lower optimiser.learning_rate "
                f"(now {self._settings.optimiser.learning_rate}) or check the images' scale"
            )
