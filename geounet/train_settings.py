"""What a training run may be told: one definition for the YAML file, Python and its validation.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from geounet.card import Architecture, Frozen, LandClass, LongText, ShortText
from geounet.errors import SettingsError

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Selection(Frozen):
    """The samples whose ``column`` of the table holds one of ``values``."""

    column: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class DataSettings(Frozen):
    """Where the samples are and how their numbers are read.

    An image and a label belong together when their files have the same stem. ``bands`` maps the
    card's band names, in wavelength order, to a channel (counted from 1) or its description.
    """

    root: Path = Path()
    images: Annotated[str, Field(description="glob of the images, relative to root")]
    labels: Annotated[str, Field(description="glob of the label rasters, relative to root")]
    bands: Annotated[dict[str, int | str], Field(min_length=1)]
    scale: Annotated[float, Field(gt=0, description="value = number * scale + offset")] = 1.0
    offset: float = 0.0
    nodata: Annotated[float | None, Field(description="number of pixels without data")] = None
    remap: dict[int, int] = Field(
        default_factory=dict, description="label in the file: the value that it means"
    )
    ignore: Annotated[tuple[int, ...], Field(description="labels that nothing is learnt from")] = ()
    table: Annotated[str | None, Field(description="CSV with a row per stem")] = None
    key: Annotated[str, Field(description="the table's column of stems")] = "id"
    validation: Selection | None = None


class NetworkSettings(Frozen):
    """The network's size; bands and outputs follow from the data."""

    depth: int = Field(default=4, ge=1, le=5)
    base_filters: int = Field(default=16, ge=1, le=256)
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)


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


class OptimiserSettings(Frozen):
    """Warm-up to ``learning_rate``, then a half cosine down to ``final_rate`` of it."""

    kind: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    final_rate: float = Field(default=0.01, ge=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema: Annotated[float, Field(ge=0, lt=1, description="decay of averaged weights; 0 = off")] = 0.0


class TrainSettings(Frozen):
    """One training run: the same settings and data give the same model on one kind of machine."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    summary: LongText = ""
    level: ShortText = "surface reflectance"
    unit: ShortText = "reflectance"
    pixel_size: Range = (10.0, 30.0)
    training_data: LongText = ""
    training_licence: LongText = ""
    classes: Annotated[tuple[LandClass, ...], Field(min_length=2)]
    data: DataSettings
    network: NetworkSettings = NetworkSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    chip: Annotated[int, Field(ge=2, le=4096, description="side of a training sample")] = 128
    batch: int = Field(default=8, ge=1)
    epochs: int = Field(default=40, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    cache_mb: Annotated[int, Field(ge=0, description="memory for decoded samples")] = 1024

    @model_validator(mode="after")
    def _chip_on_the_stride(self) -> TrainSettings:
        stride = 2**self.network.depth
        if self.chip % stride:
            raise ValueError(
                f"chip {self.chip} must be a multiple of {stride} for depth {self.network.depth}"
            )
        return self

    @model_validator(mode="after")
    def _labels_agree(self) -> TrainSettings:
        values = [c.value for c in self.classes]
        if len(set(values)) != len(values):
            raise ValueError("two classes have the same value")
        both = sorted(set(values) & set(self.data.ignore))
        if both:
            raise ValueError(f"label {both[0]} is a class and ignored: choose one")
        return self

    @property
    def architecture(self) -> Architecture:
        """Two classes share one sigmoid output; more have one output each."""
        outputs = 1 if len(self.classes) == 2 else len(self.classes)
        return Architecture(
            bands=len(self.data.bands), outputs=outputs, **self.network.model_dump()
        )


def load_settings(path: Path, root: Path | None = None) -> TrainSettings:
    """The settings in a YAML file; ``data.root`` there is relative to the file's folder.

    Args:
        path: the YAML file.
        root: the data's folder, in place of the file's.

    Raises:
        SettingsError: naming the file, the field and what is wrong with it.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise SettingsError(f"{path}: not a mapping of settings; see configs/water.yaml")
        settings = TrainSettings.model_validate(fields)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {_one_line(error)}") from error
    return with_root(settings, root or path.parent / settings.data.root)


def with_root(settings: TrainSettings, root: Path) -> TrainSettings:
    """The same run on data in another folder."""
    return settings.model_copy(update={"data": settings.data.model_copy(update={"root": root})})


def to_yaml(settings: TrainSettings) -> str:
    """Every setting, defaults included: ``load_settings`` of it gives the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _one_line(error: ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}"
        for e in error.errors(include_url=False)
    ]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more
