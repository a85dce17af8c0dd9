"""How far a training run is: the part of its state that is not on the device, and its verdicts.

Best epoch and patience are functions of the records, so they need no state of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Record = Mapping[str, Any]
Watch = Literal["iou", "loss"]


@dataclass(frozen=True)
class Standing:
    """Epochs done, and of the one under way its batches done and what they summed up to.

    ``loss`` is the sum over ``counted`` batches, ``skipped`` counts those that changed nothing and
    ``in_a_row`` the last of these; ``seconds`` were spent on the batches, ``waited`` of them
    without data, and ``compiling`` on ``compiled`` batches for which the step was compiled.
    """

    epoch: int = 0
    index: int = 0
    loss: float = 0.0
    counted: int = 0
    skipped: int = 0
    in_a_row: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    compiled: int = 0
    compiling: float = 0.0
    records: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` takes, number for number."""
        return asdict(self)

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Standing:
        """The standing that was saved."""
        return Standing(**{**fields, "records": tuple(fields["records"])})

    def after(self, loss: float, finite: bool) -> Standing:
        """Once the outcome of a batch is known."""
        if not finite:
            return replace(self, skipped=self.skipped + 1, in_a_row=self.in_a_row + 1)
        return replace(self, loss=self.loss + loss, counted=self.counted + 1, in_a_row=0)

    def lasted(self, seconds: float, is_compiled: bool) -> Standing:
        """Once the time of a batch is known, and whether the step was compiled for it."""
        standing = replace(self, seconds=self.seconds + seconds)
        if not is_compiled:
            return standing
        compiling = self.compiling + seconds
        return replace(standing, compiled=self.compiled + 1, compiling=compiling)

    @property
    def pace(self) -> float:
        """Batches per second, without those that the compiler held up; of all if there are no
        others."""
        done, seconds = self.counted + self.skipped, self.seconds
        if done > self.compiled:
            done, seconds = done - self.compiled, seconds - self.compiling
        return done / max(seconds, 1e-9)

    @property
    def mean_loss(self) -> float | None:
        """Of the batches that were learnt from; None if there was none."""
        return self.loss / self.counted if self.counted else None


def score_of(record: Record, watch: Watch) -> float:
    """What is to become small: the validation loss, or 1 − macro IoU; infinite if unknown."""
    value = record.get("validation_loss" if watch == "loss" else "macro_iou")
    if value is None:
        return math.inf
    return value if watch == "loss" else 1 - value


def best_of(records: Sequence[Record], watch: Watch) -> int:
    """Index of the best record; of equal ones the first."""
    scores = [score_of(record, watch) for record in records]
    return scores.index(min(scores))


def is_exhausted(records: Sequence[Record], watch: Watch, patience: int | None) -> bool:
    """Whether ``patience`` epochs have passed since the best one."""
    if patience is None or not records:
        return False
    return len(records) - 1 - best_of(records, watch) >= patience
