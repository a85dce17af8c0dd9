"""Where training samples lie, and how their numbers are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from geounet.card import BandPairs, Finite, positions_of
from geounet.learn.label_settings import ClassKey, VectorSettings
from geounet.learn.split_settings import SplitSettings
from geounet.scene_options import (
    DEADLINE_HELP,
    MASK_HELP,
    OFFSET_HELP,
    PRIVATE_HELP,
    Resampling,
    SceneOptions,
    Sensor,
)


class StretchSettings(Finite):
    """Show the network each band twice: its values, and its place between two percentiles.

    The percentiles are those of the whole scene. For images that were already stretched for
    display, to 8 bits: what their numbers mean differs from scene to scene.
    """

    low: float = Field(default=2.0, ge=0, lt=50)
    high: float = Field(default=98.0, gt=50, le=100)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _by_name(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    if not all(isinstance(name, str) for name in value):
        raise ValueError(
            "a list holds names; write channels with the model's names, as in {red: 1, nir: 4}"
        )
    return {name: name for name in value}


def _each_means_a_class(value: object) -> object:
    for label, meant in value.items() if isinstance(value, dict) else ():
        if meant is None:
            raise ValueError(
                f"{label} means no class; write it under data.ignore, as in ignore: [{label}]"
            )
    return value


Patterns = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_one_or_many)]
"""Paths or globs, relative to the root; one may stand alone."""


class DataSettings(Finite):
    """Where the images and their labels are, and how their numbers are read.

    An image and a label belong together when their names have the same stem; a single label file
    named without a glob serves all images. ``bands`` maps the card's band names, in wavelength
    order, to a channel (counted from 1), a name or a description; a list of names stands for
    itself. Images are opened as ``segment`` opens a scene, with the same options.
    """

    root: Path = Path()
    images: Annotated[Patterns, Field(description="rasters, product folders or scene.yaml files")]
    labels: Annotated[Patterns, Field(description="class rasters, or vector files")]
    bands: Annotated[dict[str, int | str], Field(min_length=1), BeforeValidator(_by_name)]
    vector: VectorSettings | None = None
    scale: float | None = Field(default=None, gt=0, description=OFFSET_HELP)
    offset: float | None = Field(default=None, description=OFFSET_HELP)
    nodata: Annotated[
        float | None, Field(allow_inf_nan=True, description="number of pixels without data")
    ] = None
    stretch: StretchSettings | None = None
    indices: Annotated[
        BandPairs, Field(description="pairs of bands whose (a − b) / (a + b) the network also sees")
    ] = ()
    sensor: Sensor | None = Field(default=None, description="which sensor B2, B5 … belong to")
    mask: Annotated[
        tuple[str, ...], Field(description=MASK_HELP), BeforeValidator(_one_or_many)
    ] = ()
    mask_dilate: int = Field(default=0, ge=0, le=1000, description="grow masks by so many pixels")
    resampling: Resampling = "bilinear"
    resolution: float | None = Field(
        default=None, gt=0, description="resample images to this pixel size"
    )
    assume_crs: str | None = Field(
        default=None, max_length=4000, description="CRS of images and labels that have none"
    )
    allow_vrt: bool = Field(default=False, description="open VRT files, and the files they name")
    allow_private: bool = Field(default=False, description=PRIVATE_HELP)
    read_deadline: float = Field(default=120.0, gt=0, le=86_400, description=DEADLINE_HELP)
    remap: Annotated[dict[int, ClassKey], BeforeValidator(_each_means_a_class)] = Field(
        default_factory=dict, description="label in the file: the class, by value or name"
    )
    ignore: Annotated[tuple[int, ...], Field(description="labels that nothing is learnt from")] = ()
    label_nodata: Annotated[
        int | Literal["none"] | None,
        Field(description="number that means no label; none: the files' own nodata is a label"),
    ] = None
    crop_labels: Annotated[
        bool, Field(description="take the top left of labels without a place that are too large")
    ] = False
    table: Annotated[str | None, Field(description="CSV with a row per stem")] = None
    key: Annotated[str, Field(description="the table's column of stems")] = "id"
    validation: SplitSettings | None = None

    @model_validator(mode="after")
    def _remapped_or_ignored(self) -> DataSettings:
        both = sorted(self.remap.keys() & set(self.ignore))
        if both:
            raise ValueError(f"label {both[0]} is in remap and in ignore: choose one")
        return self

    @model_validator(mode="after")
    def _a_channel_for_each_band(self) -> DataSettings:
        first: dict[str, str] = {}
        for name, channel in self.bands.items():
            other = first.setdefault(str(channel), name)
            if other != name:
                raise ValueError(
                    f"bands {other} and {name} are both {channel}; give each band a channel of "
                    "its own"
                )
        return self

    @model_validator(mode="after")
    def _indices_of_known_bands(self) -> DataSettings:
        positions_of(self.indices, tuple(self.bands), self.stretch is not None)
        return self

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The positions of the indices' bands."""
        return positions_of(self.indices, tuple(self.bands), self.stretch is not None)

    @property
    def scene_options(self) -> SceneOptions:
        """What ``open_scene`` is told of every image."""
        shared = SceneOptions.model_fields.keys() & DataSettings.model_fields.keys()
        bands = {name: str(channel) for name, channel in self.bands.items()}
        return SceneOptions(**self.model_dump(include=shared - {"bands"}), bands=bands)
