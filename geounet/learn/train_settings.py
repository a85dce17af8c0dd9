"""What a training run may be told: one definition for the YAML file, Python and its validation.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from geounet.card import Architecture, Finite, LandClass, LongText, ShortText
from geounet.errors import SettingsError
from geounet.learn.augment_settings import AugmentSettings, Range
from geounet.learn.data_settings import DataSettings
from geounet.learn.loss_settings import LossSettings
from geounet.learn.network_settings import MOST_INPUTS, NetworkSettings
from geounet.learn.optimiser_settings import OptimiserSettings
from geounet.learn.split_settings import SamplingSettings
from geounet.yaml_file import read_mapping


class TrainSettings(Finite):
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
    sampling: SamplingSettings = SamplingSettings()
    chip: Annotated[int, Field(ge=2, le=4096, description="side of a training sample")] = 256
    batch: int = Field(default=16, ge=1)
    epochs: int = Field(default=40, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    precision: Annotated[
        Literal["f32", "bf16"], Field(description="of the network's arithmetic while it learns")
    ] = "f32"
    watch: Annotated[
        Literal["iou", "loss"], Field(description="validation score: macro IoU, or the loss")
    ] = "iou"
    keep: Annotated[Literal["last", "best"], Field(description="which epoch's weights")] = "last"
    patience: Annotated[
        int | None, Field(ge=1, description="stop after so many epochs without a better score")
    ] = None
    checkpoint_minutes: Annotated[float, Field(ge=0, le=1e6, description="between checkpoints")] = (
        5.0
    )
    tensorboard: Annotated[bool, Field(description="also write TensorBoard's event files")] = False
    cache_mb: Annotated[int, Field(ge=0, description="memory for decoded samples")] = 1024

    @model_validator(mode="after")
    def _chip_on_the_stride(self) -> TrainSettings:
        stride = 2**self.network.depth
        if self.chip % stride:
            raise ValueError(
                f"chip {self.chip} must be a multiple of {stride} for depth {self.network.depth}; "
                f"the next size is {-(-self.chip // stride) * stride}"
            )
        return self

    @model_validator(mode="after")
    def _warm_before_the_end(self) -> TrainSettings:
        if self.optimiser.warmup_epochs > self.epochs:
            raise ValueError(
                f"optimiser.warmup_epochs {self.optimiser.warmup_epochs:g} is longer than epochs "
                f"{self.epochs}; shorten it, or train longer"
            )
        return self

    @model_validator(mode="after")
    def _labels_agree(self) -> TrainSettings:
        values = [c.value for c in self.classes]
        if len(set(values)) != len(values):
            raise ValueError("two classes have the same value")
        if len({c.name for c in self.classes}) != len(values):
            raise ValueError("two classes have the same name")
        both = sorted(set(values) & set(self.data.ignore))
        if both:
            raise ValueError(f"label {both[0]} is a class and ignored: choose one")
        return self

    @model_validator(mode="after")
    def _few_inputs(self) -> TrainSettings:
        if len(self.inputs) > MOST_INPUTS:
            more = ", twice each for data.stretch" if self.data.stretch else ""
            if self.data.indices:
                more = f" and data.indices has {len(self.data.indices)}"
            raise ValueError(
                f"a network has at most {MOST_INPUTS} inputs, but data.bands names "
                f"{len(self.data.bands)} bands{more}; choose fewer"
            )
        return self

    @property
    def architecture(self) -> Architecture:
        """Two classes share one sigmoid output; more have one output each."""
        outputs = 1 if len(self.classes) == 2 else len(self.classes)
        return self.network.architecture(len(self.inputs), outputs)

    @property
    def inputs(self) -> list[str]:
        """What the network sees: the bands, their places in a display stretch, and the indices."""
        names = list(self.data.bands)
        names += [f"{name} stretched" for name in names if self.data.stretch]
        return names + [f"index of {a} and {b}" for a, b in self.data.indices]


def load_settings(path: Path, root: Path | None = None) -> TrainSettings:
    """The settings in a YAML file; ``data.root`` there is relative to the file's folder.

    Args:
        path: the YAML file.
        root: the data's folder, in place of the file's.

    Raises:
        InputError: if the file cannot be read.
        SettingsError: naming the file, the field and what is wrong with it.
    """
    what = "config of a training, as configs/template.yaml,"
    fields = read_mapping(path, what, SettingsError, aliases=True)
    try:
        settings = TrainSettings.model_validate(fields)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_one_line(error)}") from error
    return with_root(settings, root or path.parent / settings.data.root)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of a setting that only the data shows also name the file that it was read from.

    Raises:
        SettingsError: as it was raised, after the path if it begins with a setting's name.
    """
    try:
        yield
    except SettingsError as error:
        named = re.match(r"\w*", str(error))
        if named is None or named[0] not in TrainSettings.model_fields:
            raise
        raise SettingsError(f"{path}: {error}") from error


def with_root(settings: TrainSettings, root: Path) -> TrainSettings:
    """The same run on data in another folder."""
    return settings.model_copy(update={"data": settings.data.model_copy(update={"root": root})})


def to_yaml(settings: TrainSettings) -> str:
    """Every setting, defaults included: ``load_settings`` of it gives the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _one_line(error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    places = [fault["loc"] for fault in faults]
    # A list that holds a wrong item is also called too short: only the item is.
    found = [
        _told(fault)
        for fault, place in zip(faults, places, strict=True)
        if not any(p[: len(place)] == place for p in places if p != place)
    ]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def _told(fault: ErrorDetails) -> str:
    """What is wrong where, and for an unknown setting which one it may have been."""
    place = fault["loc"]
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _names_beside(place), n=1)
        text = "unknown; " + (f"did you mean {near[0]}?" if near else "see configs/template.yaml")
    return f"{'.'.join(map(str, place))}: {text}" if place else text


def _names_beside(place: tuple[int | str, ...]) -> list[str]:
    """The settings of the section that a place lies in."""
    section: type[BaseModel] = TrainSettings
    for part in place[:-1]:
        field = section.model_fields.get(str(part))
        section = next(_sections(field.annotation), section) if field else section
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, as in ``SplitSettings | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
