"""How training samples are varied."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from geounet.card import Frozen

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class AugmentSettings(Frozen):
    """How far training samples are varied; radiometric amounts are in the card's unit.

    ``gain`` and ``band_gain`` are the largest |ln factor| for all bands and for each band;
    ``haze`` is the largest light added to the first band, falling off along the bands by a
    drawn rate up to ``haze_decay`` per band.
    """

    symmetries: bool = True
    zoom: Range = (1.0, 1.0)
    gain: float = Field(default=0.0, ge=0, le=2)
    band_gain: float = Field(default=0.0, ge=0, le=2)
    haze: float = Field(default=0.0, ge=0)
    haze_decay: float = Field(default=1.0, ge=0)
    band_offset: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> AugmentSettings:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom goes from small to large, but is {list(self.zoom)}")
        return self
