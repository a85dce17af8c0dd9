"""What a user may ask of a job that makes a map: one definition for flags, YAML and Python.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field, model_validator

from geounet.card import Frozen
from geounet.scene_options import SceneOptions
from geounet.vector_settings import VectorFormat, VectorSettings

Overlap = Literal["confident", "first"]
Format = VectorFormat | Literal["none"]


class ComputeSettings(Frozen):
    """How a network is run over scenes: in which windows, how exactly, and where."""

    window: Annotated[int | None, Field(ge=16, description="side of a tile's window, pixels")] = (
        None
    )
    precision: Annotated[
        Literal["f32", "bf16"], Field(description="of the network's arithmetic")
    ] = "f32"
    tta: Annotated[
        bool,
        Field(description="average each window's eight symmetries: surer, 8 times the computing"),
    ] = False
    workers: Annotated[int, Field(ge=0, le=1024, description="processes; 0 = this one")] = 0
    scheduler: Annotated[
        str | None,
        Field(pattern=r"^((tcp|tls)://)?[^\s/]+:\d+$", description="of Dask: tcp://HOST:PORT"),
    ] = None

    insecure: Annotated[
        bool, Field(description="use a scheduler on another machine without TLS")
    ] = False
    tls_ca: Annotated[
        str | None, Field(description="PEM file: who signed the scheduler's certificate")
    ] = None
    tls_cert: Annotated[str | None, Field(description="PEM file: our certificate")] = None
    tls_key: Annotated[str | None, Field(description="PEM file: its key")] = None
    tile_timeout: Annotated[
        float,
        Field(gt=0, le=1e6, description="seconds after which a tile's process is started anew"),
    ] = 3600.0

    @model_validator(mode="after")
    def _one_place_to_compute(self) -> ComputeSettings:
        if self.workers and self.scheduler:
            raise ValueError("choose one: --workers starts processes, --scheduler uses a cluster")
        if len({bool(f) for f in (self.tls_ca, self.tls_cert, self.tls_key)}) > 1:
            raise ValueError("give --tls-ca, --tls-cert and --tls-key together")
        return self


class JobSettings(SceneOptions, VectorSettings, ComputeSettings):
    """How scenes are read and mapped, and what is written of the map."""

    formats: Annotated[
        tuple[Format, ...],
        Parameter(name="--format"),
        Field(description="vector formats, or none; more than one may be given"),
    ] = ("gpkg",)  # type: ignore[assignment]
    bands: Annotated[dict[str, str], Parameter(parse=False)] = Field(default_factory=dict)
    aoi: Annotated[
        str | None, Field(description="vector file; only what lies inside is mapped")
    ] = None
    strict: Annotated[bool, Field(description="refuse where a note would warn")] = False
    keep_going: Annotated[
        bool, Field(description="where a tile cannot be read leave no data, and map the rest")
    ] = False
    store: Annotated[
        str | None,
        Field(
            min_length=1,
            description="where workers keep tiles: a folder that all see, or s3://BUCKET/NAME",
        ),
    ] = None
    keep_work: Annotated[bool, Field(description="keep the tile store of a finished job")] = False

    @model_validator(mode="after")
    def _choices_agree(self) -> JobSettings:
        if "none" in self.formats and len(self.formats) > 1:
            raise ValueError("--format none cannot go with other formats")
        return self

    @property
    def vector_formats(self) -> tuple[VectorFormat, ...]:
        """The formats to write, without repeats; empty for none."""
        return tuple(name for name in dict.fromkeys(self.formats) if name != "none")


class SegmentSettings(JobSettings):
    """How a scene is read and segmented, and what is written of it."""

    confidence: Annotated[bool, Field(description="also write confidence.tif")] = False
    probabilities: Annotated[bool, Field(description="also write probabilities.tif")] = False
    fail_fast: Annotated[
        bool, Field(description="of several scenes, stop at the first that fails")
    ] = False


class LandcoverSettings(JobSettings):
    """How many scenes are read and mapped into one mosaic, and what is written of it."""

    overlap: Annotated[
        Overlap,
        Field(description="where scenes overlap: the surest class, or that of the first scene"),
    ] = "confident"
    confidence: Annotated[bool, Field(description="also write confidence.tif")] = False
