"""The training loop: steps, epochs, checkpoints, and what is told of them.

Batch i of epoch e is a function of (seed, e, i) alone, and so is its augmentation. A run is
therefore its learner and its standing: both are in every checkpoint, and a run that goes on from
one computes what it would have computed without a break, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from geounet.errors import InterruptedJobError, OutputError
from geounet.job import WORK, refuse_difference
from geounet.learn.checkpoint import Checkpoints, state_of
from geounet.learn.chip_source import ChipSource
from geounet.learn.identity import identity_of
from geounet.learn.learner import Batch, network_of
from geounet.learn.prefetch import Prefetch
from geounet.learn.records import Events, Record, write_config, write_records
from geounet.learn.standing import Standing, best_of, is_exhausted
from geounet.learn.stepper import Stepper, check, enough_memory
from geounet.learn.train_settings import TrainSettings
from geounet.learn.validation import Examination, scores_of, validate
from geounet.networks import Learnt
from geounet.reporting import Reporter, Silence, duration
from geounet.stop import StopRequest

MEASURED_STEPS = 5
"""After so many steps the time of the whole run is estimated, without the first, which compiles."""


@dataclass(frozen=True)
class Fitted:
    """The network that is kept, in evaluation mode, the epoch it is of, and all records."""

    network: Learnt
    epoch: int
    records: tuple[Record, ...]


def fit(
    settings: TrainSettings,
    data: ChipSource,
    out: Path,
    *,
    reporter: Reporter | None = None,
    stop: StopRequest | None = None,
    resume: bool = False,
) -> Fitted:
    """Learn from ``data``; ``out`` gets config.yaml, metrics.jsonl and, in its work folder,
    checkpoints.

    Args:
        settings: everything that decides the result.
        data: batches and validation chips.
        out: a folder that this process holds the lock of.
        reporter: hears of progress.
        stop: asked after every step; a request saves a checkpoint and ends the run.
        resume: go on from the newest checkpoint, if there is one.

    Raises:
        SettingsError: if the settings cannot hold or differ from the checkpoint's, if a batch
            takes more memory than there is, or if too many in a row have no finite loss.
        InterruptedJobError: if ``stop`` was asked for.
        OutputError: if ``out`` cannot be written.
    """
    check(settings, data)
    with (
        enough_memory(settings),
        closing(_Run(settings, data, out, reporter or Silence(), stop or StopRequest())) as run,
    ):
        if resume:
            run.restore()
        # Not before: what cannot start, or go on, leaves the settings that are there.
        write_config(out, settings)
        run.learn()
        return run.result()


class _Run:
    """One run: where it stands, what it leaves on disk, and what it tells."""

    def __init__(
        self,
        settings: TrainSettings,
        data: ChipSource,
        out: Path,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        self._settings, self._data, self._out = settings, data, out
        self._reporter, self._stop = reporter, stop
        self._stepper = Stepper(settings, data)
        self._identity = identity_of(settings, data)
        folder = out / WORK / "training"
        self._last, self._best = Checkpoints(folder / "last", 2), Checkpoints(folder / "best", 1)
        self._events: Events | None = None
        self._steps, self._told = 0, 0
        self._first_step, self._saved = 0.0, time.monotonic()

    def restore(self) -> None:
        """Go on from the newest sound checkpoint, if there is one.

        Raises:
            SettingsError: if the checkpoint is of another run, naming what differs.
        """
        found = self._last.load(self._reporter.note)
        if found is None:
            self._reporter.note(f"{self._out}: no checkpoint yet; starts at the first epoch")
            return
        arrays, about = found
        before, now = about["identity"], self._identity
        # Settings decide which batches there are, so a changed one is the better thing to name.
        refuse_difference(self._out, before["settings"], now["settings"])
        refuse_difference(self._out, before, now)
        self._stepper.learner = state_of(arrays, self._stepper.learner)
        self._stepper.standing = Standing.from_json(about["standing"])
        write_records(self._out, self._stepper.standing.records)

    def learn(self) -> None:
        """Take all steps that are left."""
        s = self._settings
        if s.tensorboard:
            self._events = Events(self._out, self._stepper.standing.records)
        self._told = self._done
        self._reporter.start("train, first step", s.batch * s.chip**2, 0)
        try:
            with Prefetch(self._stepper.read, self._coming()) as batches:
                while not self._is_over():
                    self._take_steps(batches)
                    self._close_epoch()
            self._save()
        finally:
            self._reporter.finish()

    def result(self) -> Fitted:
        """The network to keep: of the last epoch, or of the best on the validation chips.

        Raises:
            OutputError: if the best checkpoint was damaged.
        """
        learner, standing = self._stepper.learner, self._stepper.standing
        epoch = standing.epoch
        if self._settings.keep == "best":
            found = self._best.load(self._reporter.note)
            if found is None:
                raise OutputError(
                    f"{self._best.folder}: the best epoch's checkpoint is lost; "
                    "train again with --overwrite"
                )
            epoch = best_of(standing.records, self._settings.watch) + 1
            learner = state_of(found[0], learner)
        return Fitted(network_of(self._stepper.recipe, learner), epoch, standing.records)

    def close(self) -> None:
        """Let go of files."""
        self._last.close()
        self._best.close()
        if self._events is not None:
            self._events.close()

    def _is_over(self) -> bool:
        s, standing = self._settings, self._stepper.standing
        return standing.epoch >= s.epochs or is_exhausted(standing.records, s.watch, s.patience)

    def _coming(self) -> Iterator[tuple[int, int]]:
        """Epoch and index of every batch that is left."""
        first = self._stepper.standing
        for epoch in range(first.epoch, self._settings.epochs):
            begin = first.index if epoch == first.epoch else 0
            yield from ((epoch, i) for i in range(begin, self._data.steps))

    def _take_steps(self, batches: Prefetch[Any, Batch]) -> None:
        """The rest of the epoch."""
        self._stepper.begin()
        while self._stepper.standing.index < self._data.steps:
            batch, waited = batches.take(self._stepper.settle)
            self._stepper.take(batch, waited)
            self._tell()
            self._save_if_due()
        self._stepper.settle()
        self._advance()

    @property
    def _done(self) -> int:
        """Batches of the whole run that are counted."""
        standing = self._stepper.standing
        return standing.epoch * self._data.steps + standing.index - self._stepper.pending

    def _advance(self) -> None:
        """Tell of the batches that were counted since.

        The first is a stage of its own: what the compiler took tells nothing of the time left.
        """
        s, before = self._settings, self._told
        self._told, pixels = self._done, s.batch * s.chip**2
        self._reporter.advance((self._told - before) * pixels)
        if self._steps == 1 and self._told > before:
            self._reporter.finish()
            total = s.epochs * self._data.steps
            self._reporter.start("train", total * pixels, self._told * pixels)

    def _estimate(self) -> None:
        """Say how long the rest takes, once some steps have been timed."""
        self._steps += 1
        if self._steps not in (1, MEASURED_STEPS):
            return
        self._stepper.settle()
        if self._steps == 1:
            self._first_step = time.perf_counter()
            return
        s, standing = self._settings, self._stepper.standing
        step = (time.perf_counter() - self._first_step) / (self._steps - 1)
        left: float = (
            s.epochs * self._data.steps - standing.epoch * self._data.steps - standing.index
        )
        # A forward pass alone is about a third of a step.
        left += (s.epochs - standing.epoch) * len(self._data.validation) / s.batch / 3
        self._reporter.note(f"{step:.3g} s a step: about {duration(step * left)} to go")

    def _tell(self) -> None:
        self._estimate()
        self._advance()
        s, standing = self._settings, self._stepper.standing
        waited = standing.waited / max(standing.seconds, 1e-9)
        loss, macro = standing.mean_loss, (standing.records or ({},))[-1].get("macro_iou")
        figures = [
            f"epoch {standing.epoch + 1}/{s.epochs}",
            "" if loss is None else f"loss {loss:.4g}",
            "" if macro is None else f"IoU {macro:.3f}",
            f"{standing.pace * s.batch:.3g} samples/s",
            f"waited {waited:.0%}",
        ]
        self._reporter.show("  ".join(filter(None, figures)))

    def _close_epoch(self) -> None:
        """Validate, and keep what the epoch came to."""
        began, s, stepper = time.perf_counter(), self._settings, self._stepper
        network, divide = network_of(stepper.recipe, stepper.learner), stepper.devices.divide
        found = validate(network, stepper.constants, self._data.validation, s, divide, self._stop)
        if found is None:
            self._leave()
        record = self._record(found) | {"validation_seconds": _round(time.perf_counter() - began)}
        stepper.end_epoch(record)
        records = stepper.standing.records
        if s.keep == "best" and best_of(records, s.watch) == len(records) - 1:
            self._best.save(stepper.learner, {"epoch": len(records)})
        write_records(self._out, records)
        if self._events is not None:
            self._events.add(record)
        self._reporter.record(record)
        # What is estimated from is the time of steps.
        self._first_step += time.perf_counter() - began
        if not self._is_over():
            self._save_if_due()

    def _record(self, found: Examination) -> Record:
        s, standing = self._settings, self._stepper.standing
        record = {
            "epoch": standing.epoch + 1,
            "step": (standing.epoch + 1) * self._data.steps,
            "loss": standing.mean_loss,
            "skipped": standing.skipped,
            "learning_rate": self._stepper.learning_rate,
            "seconds": _round(standing.seconds),
            "samples_per_second": _round(standing.pace * s.batch),
            "waited": _round(standing.waited / standing.seconds),
        }
        return record | scores_of(found, [c.name for c in s.classes])

    def _save_if_due(self) -> None:
        if self._stop():
            self._leave()
        if time.monotonic() - self._saved >= 60 * self._settings.checkpoint_minutes:
            self._save()

    def _save(self) -> None:
        self._stepper.settle()
        about = {"identity": self._identity, "standing": self._stepper.standing.as_json()}
        self._last.save(self._stepper.learner, about)
        self._saved = time.monotonic()

    def _leave(self) -> NoReturn:
        self._save()
        s = self._stepper.standing
        raise InterruptedJobError(
            f"{self._out}: stopped by a signal at epoch {s.epoch + 1}, after {s.index} of its "
            f"{self._data.steps} batches; run the command again with --resume to go on",
            self._stop.exit_code,
        )


def _round(value: float) -> float:
    return round(value, 4)
