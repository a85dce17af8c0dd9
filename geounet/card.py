"""What a model says of itself: its network, its bands, its classes, its score.

The card travels inside the model file as canonical JSON (model_file.py). It is data, never code.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1
NODATA = 255
"""The mask's own code for pixels that no band saw; never a class."""

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
ShortText = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=4000)]


class Frozen(BaseModel):
    """A value: no field can be set later, and an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def later(default: Any, **rules: Any) -> Any:
    """A field of cards that the first shipped models do not have.

    At its default it is left out of the card's JSON, and so of its SHA-256: a card written before
    the field was thought of keeps its hash, and any other value of the field is hashed.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **rules)


class Architecture(Frozen):
    """A U-Net as in Ronneberger et al. 2015; ``outputs`` of 1 means sigmoid, more mean softmax."""

    kind: Literal["unet"] = "unet"
    bands: int = Field(ge=1, le=256)
    outputs: int = Field(ge=1, le=255)
    depth: int = Field(default=4, ge=1, le=5)
    base_filters: int = Field(default=16, ge=1, le=256)
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)


class LandClass(Frozen):
    """One class of the map: ``value`` is what mask.tif holds for it."""

    value: int = Field(ge=0, le=254)
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
    colour: Colour


class ModelCard(Frozen):
    """Everything a user must know to trust a model, or to leave it.

    ``scale`` and ``offset`` turn the numbers that the model was trained from into its unit
    (``value = number * scale + offset``); ``mean`` and ``std`` per band are in that unit.
    ``pixel_size`` is the range, in metres, that it was trained for. ``accuracy`` names each
    measure with how it was taken. Logits are divided by ``temperature`` before they become
    probabilities (Guo et al. 2017), which moves confidence and never the mask.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    summary: LongText = ""
    architecture: Architecture
    bands: tuple[ShortText, ...]
    level: ShortText = "surface reflectance"
    pixel_size: tuple[float, float] = (10.0, 30.0)
    unit: ShortText = "reflectance"
    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    classes: tuple[LandClass, ...]
    temperature: float = later(1.0, gt=0, allow_inf_nan=False)
    reach: int = Field(ge=0)
    training_data: LongText = ""
    training_licence: LongText = ""
    training_command: LongText = ""
    accuracy: dict[ShortText, LongText] = Field(default_factory=dict)
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @model_validator(mode="after")
    def _counts_agree(self) -> ModelCard:
        bands = self.architecture.bands
        if not len(self.bands) == len(self.mean) == len(self.std) == bands:
            raise ValueError(
                f"the network takes {bands} bands, but the card has {len(self.bands)} names, "
                f"{len(self.mean)} means and {len(self.std)} standard deviations"
            )
        if len(self.classes) != max(2, self.architecture.outputs):
            raise ValueError(
                f"{self.architecture.outputs} outputs tell {max(2, self.architecture.outputs)} "
                f"classes apart, but the card names {len(self.classes)}"
            )
        if len({c.value for c in self.classes}) != len(self.classes):
            raise ValueError("two classes have the same value")
        return self
