"""What a model says of itself: its network, its bands, its classes, its score.

The card travels inside the model file as canonical JSON (model_file.py). It is data, never code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1
NODATA = 255
"""The mask's own code for pixels that no band saw; never a class."""

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
ShortText = Annotated[str, Field(max_length=200)]
BlockKind = Literal["plain", "residual", "inverted_bottleneck"]
Dilations = Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Field(max_length=4)]
Count = Annotated[int, Field(ge=1, le=36)]
Width = Annotated[int, Field(ge=1, le=1024)]
BandPairs = tuple[tuple[ShortText, ShortText], ...]
LongText = Annotated[str, Field(max_length=4000)]


class Frozen(BaseModel):
    """A value: no field can be set later, and an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finite(Frozen):
    """Settings without infinity or NaN, but where a field allows them."""

    model_config = ConfigDict(allow_inf_nan=False)


def later(default: Any, **rules: Any) -> Any:
    """A field of cards that the first shipped models do not have.

    At its default it is left out of the card's JSON, and so of its SHA-256: a card written before
    the field was thought of keeps its hash, and any other value of the field is hashed.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **rules)


class Architecture(Frozen):
    """A U-Net as in Ronneberger et al. 2015; ``outputs`` of 1 means sigmoid, more mean softmax.

    ``block`` is what each level is made of, ``expansion`` how much an inverted bottleneck widens;
    ``attention`` puts a gate on what the encoder saw; ``dilations`` are those of 3×3 convolutions
    at the bottom (blocks.py); ``members`` networks map as one (ensemble.py).
    """

    kind: Literal["unet"] = "unet"
    bands: int = Field(ge=1, le=256)
    outputs: int = Field(ge=1, le=255)
    depth: int = Field(default=4, ge=1, le=5)
    base_filters: int = Field(default=16, ge=1, le=256)
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)
    block: BlockKind = later("plain")
    expansion: int = later(4, ge=1, le=8)
    attention: bool = later(False)
    dilations: Dilations = later(())
    members: int = later(1, ge=1, le=16)

    @property
    def stride(self) -> int:
        """Pixels of the grid that windows, halos and cores lie on."""
        return 2**self.depth

    @property
    def width(self) -> int:
        """Bands of the maps at full size, which the memory of a pass goes with."""
        widened = self.expansion if self.block == "inverted_bottleneck" else 1
        return self.base_filters * widened * self.members


class ResNetArchitecture(Frozen):
    """A U-Net whose encoder is a ResNet of basic blocks (resnet_unet.py); only ever imported.

    ``blocks`` counts those of the encoder's four stages, which are ``encoder_width`` wide and
    twice that, and so on; ``decoder`` is how wide the five levels up are, the coarsest first.
    """

    kind: Literal["resnet_unet"] = "resnet_unet"
    bands: int = Field(ge=1, le=256)
    outputs: int = Field(ge=1, le=255)
    blocks: tuple[Count, Count, Count, Count] = (2, 2, 2, 2)
    encoder_width: int = Field(default=64, ge=1, le=256)
    decoder: tuple[Width, Width, Width, Width, Width] = (256, 128, 64, 32, 16)

    @property
    def stride(self) -> int:
        """Pixels of the grid that windows, halos and cores lie on."""
        return 32

    @property
    def width(self) -> int:
        """Bands of the maps at full size, which the memory of a pass goes with."""
        # The stem's maps have a quarter of the pixels.
        return max(self.decoder[-1], self.encoder_width // 4)


def positions_of(
    pairs: BandPairs, bands: Sequence[str], stretched: bool
) -> tuple[tuple[int, int], ...]:
    """Where in ``bands`` those of each spectral index are (indices.py).

    Raises:
        ValueError: naming the pair, if a band is unknown or both are one, if an index comes twice,
            or if the bands are also shown in a display stretch.
    """
    if pairs and stretched:
        raise ValueError(
            "indices and stretch exclude each other: ratios of display values mean nothing; "
            "leave one out"
        )
    for k, pair in enumerate(pairs):
        named = f"indices: [{', '.join(pair)}]"
        unknown = [name for name in pair if name not in bands]
        if unknown:
            raise ValueError(
                f"{named} names {unknown[0]}, which is not in bands ({', '.join(bands)})"
            )
        if pair[0] == pair[1]:
            raise ValueError(f"{named} has one band twice; name two")
        if any(set(pair) == set(other) for other in pairs[:k]):
            raise ValueError(f"{named} is there already, in this order or the other; leave it out")
    return tuple((bands.index(a), bands.index(b)) for a, b in pairs)


AnyArchitecture = Annotated[Architecture | ResNetArchitecture, Field(discriminator="kind")]


class LandClass(Frozen):
    """One class of the map: ``value`` is what mask.tif holds for it."""

    value: int = Field(ge=0, le=254)
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
    colour: Colour


class Stretch(Frozen):
    """A display stretch: each band is also shown as its place between two percentiles.

    The percentiles ``low`` and ``high``, of the valid pixels of the whole scene, become 0 and 1.
    ``display`` has, per band, the values that they have on average in the training scenes, in the
    card's unit: numbers that are not 8-bit display values are brought there.
    """

    low: float = Field(default=2.0, ge=0, lt=100)
    high: float = Field(default=98.0, gt=0, le=100)
    display: tuple[tuple[float, float], ...]

    @model_validator(mode="after")
    def _ordered(self) -> Stretch:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be under high {self.high:g}")
        return self


class ModelCard(Frozen):
    """Everything a user must know to trust a model, or to leave it.

    ``scale`` and ``offset`` turn the numbers that the model was trained from into its unit
    (``value = number * scale + offset``); ``mean`` and ``std`` per band are in that unit.
    ``pixel_size`` is the range, in metres, that it was trained for. ``accuracy`` names each
    measure with how it was taken. Logits are divided by ``temperature`` before they become
    probabilities (Guo et al. 2017), which moves confidence and never the mask. With a ``stretch``
    the network's inputs are the bands and then the same bands stretched; with ``indices``, the
    bands and then each pair's normalised difference (indices.py), whose ``mean`` and ``std`` follow
    those of the bands. ``held_out`` is a digest of the ground that its training held out
    (identity.py), ``none``, or empty where that is not known.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    summary: LongText = ""
    architecture: AnyArchitecture
    bands: tuple[ShortText, ...]
    level: ShortText = "surface reflectance"
    pixel_size: tuple[float, float] = (10.0, 30.0)
    unit: ShortText = "reflectance"
    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    classes: tuple[LandClass, ...]
    temperature: float = later(1.0, gt=0, allow_inf_nan=False)
    stretch: Stretch | None = later(None)
    indices: BandPairs = later((), max_length=250)
    held_out: str = later("", pattern=r"^([0-9a-f]{64}|none)?$")
    reach: int = Field(ge=0)
    training_data: LongText = ""
    training_licence: LongText = ""
    training_command: LongText = ""
    accuracy: dict[ShortText, LongText] = Field(default_factory=dict)
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The positions of the indices' bands."""
        return positions_of(self.indices, self.bands, self.stretch is not None)

    @model_validator(mode="after")
    def _counts_agree(self) -> ModelCard:
        bands = self.architecture.bands
        shown = len(self.bands) * (2 if self.stretch else 1) + len(self.pairs)
        if not shown == len(self.mean) == len(self.std) == bands:
            raise ValueError(
                f"the network takes {bands} bands, but the card has {len(self.bands)} names, "
                f"{len(self.indices)} indices, {len(self.mean)} means and {len(self.std)} standard "
                "deviations"
            )
        if self.stretch and len(self.stretch.display) != len(self.bands):
            raise ValueError("stretch.display must have a pair for each band")
        if len(self.classes) != max(2, self.architecture.outputs):
            raise ValueError(
                f"{self.architecture.outputs} outputs tell {max(2, self.architecture.outputs)} "
                f"classes apart, but the card names {len(self.classes)}"
            )
        if len({c.value for c in self.classes}) != len(self.classes):
            raise ValueError("two classes have the same value")
        if len({c.name for c in self.classes}) != len(self.classes):
            raise ValueError("two classes have the same name")
        return self
