"""How the weights are moved."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from geounet.card import Finite


class PlateauSettings(Finite):
    """Where the rate falls: by ``factor`` after ``patience`` epochs without a better score."""

    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=5, ge=1)
    least: Annotated[float, Field(ge=0, le=1, description="share of the rate that is kept")] = 0.01


class OptimiserSettings(Finite):
    """Warm-up to ``learning_rate``, then by ``schedule`` down to ``final_rate`` of it or not.

    ``weight_decay`` belongs to adamw and ``momentum`` to sgd; the others leave them alone.
    ``accumulate`` batches make one update, which is as one larger batch where the loss is a mean
    over pixels (see docs/training.md).
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0, le=1000)
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0, le=10_000)
    final_rate: Annotated[float, Field(ge=0, le=1, description="of cosine")] = 0.01
    plateau: PlateauSettings = PlateauSettings()
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=1000)
    clip_norm: Annotated[
        float | None, Field(gt=0, le=1e9, description="longest gradient; null = any")
    ] = 1.0
    accumulate: Annotated[int, Field(ge=1, description="batches per update")] = 1
    ema: Annotated[float, Field(ge=0, lt=1, description="decay of averaged weights; 0 = off")] = 0.0
