"""What training makes small."""

from __future__ import annotations

from pydantic import Field, model_validator

from geounet.card import Frozen


class LossSettings(Frozen):
    """Cross-entropy and soft Dice, added with these weights."""

    cross_entropy: float = Field(default=1.0, ge=0)
    dice: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossSettings:
        if not self.cross_entropy + self.dice:
            raise ValueError("cross_entropy and dice are both 0: nothing would be learnt")
        return self
