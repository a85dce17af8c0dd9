"""How training samples are varied."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from geounet.card import Finite


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"goes from small to large, but is {list(ends)}")
    return ends


Positive = Annotated[float, Field(gt=0, le=1e6)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Scale = Annotated[float, Field(ge=0.1, le=10)]
Scales = Annotated[tuple[Scale, Scale], AfterValidator(_ordered)]
Amount = Annotated[float, Field(ge=0, le=1e6)]
LogFactor = Annotated[float, Field(ge=0, le=2)]


class AugmentSettings(Finite):
    """How far training samples are varied; radiometric amounts are in the card's unit.

    Place: ``zoom`` is the range of scales; ``elastic`` the standard deviation, in pixels, of what
    moves a 3 × 3 grid over the chip (10 for the 572-pixel tiles of Ronneberger et al. 2015: take
    less for smaller chips).

    Light: ``gain`` and ``band_gain`` are the largest |ln factor| for all bands and for each band;
    ``haze`` is the largest light added to the first band, falling off along the bands by a
    drawn rate up to ``haze_decay`` per band; ``band_offset`` is the largest shift of each band.
    ``contrast`` is the largest |ln factor| about the chip's mean, ``brightness`` the largest shift
    of all bands. ``noise`` is the largest standard deviation per pixel and band.

    With a display stretch (``data.stretch``) all this varies the values and not the places.

    Display: black and white point move by up to ``stretch`` of the range for all bands and
    ``band_stretch`` for each, and ``gamma`` is the largest |ln exponent|. ``stretch_range`` is what
    the picture can show, such as [0, 255] for 8 bits; without it, the range of the chip's band.
    With ``data.stretch`` the two points are those of the places, in their unit; without gamma.

    ``band_dropout`` is the probability that a band of a chip is blanked; one always stays.
    """

    symmetries: bool = True
    zoom: Scales = (1.0, 1.0)
    elastic: Annotated[float, Field(ge=0, le=100)] = 0.0
    gain: LogFactor = 0.0
    band_gain: LogFactor = 0.0
    haze: Amount = 0.0
    haze_decay: Amount = 1.0
    band_offset: Amount = 0.0
    contrast: LogFactor = 0.0
    brightness: Amount = 0.0
    noise: Amount = 0.0
    stretch: Amount = 0.0
    band_stretch: Amount = 0.0
    gamma: LogFactor = 0.0
    stretch_range: tuple[float, float] | None = None
    band_dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _black_below_white(self) -> AugmentSettings:
        if self.stretch_range and self.stretch_range[0] >= self.stretch_range[1]:
            raise ValueError(
                f"stretch_range goes from black to white, but is {list(self.stretch_range)}"
            )
        if self.stretch + self.band_stretch >= 0.5:
            raise ValueError(
                "stretch + band_stretch must stay below 0.5, or black could pass white: "
                f"they are {self.stretch} + {self.band_stretch}"
            )
        return self
