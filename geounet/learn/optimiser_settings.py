"""How the weights are moved."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from geounet.card import Frozen


class OptimiserSettings(Frozen):
    """Warm-up to ``learning_rate``, then a half cosine down to ``final_rate`` of it."""

    kind: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    final_rate: float = Field(default=0.01, ge=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema: Annotated[float, Field(ge=0, lt=1, description="decay of averaged weights; 0 = off")] = 0.0
