"""What a user may ask of ``geounet segment``: one definition for flags, YAML and Python.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geounet.scene_options import SceneOptions

Format = Literal["gpkg", "geojson", "shp", "fgb", "none"]


class SegmentSettings(SceneOptions):
    """How a scene is segmented and what is written; a scene's own options are part of it."""

    aoi: Annotated[
        str | None, Field(description="vector file; only what lies inside is mapped")
    ] = None
    format: Annotated[tuple[Format, ...], Field(description="vector formats, or none")] = ("gpkg",)
    window: Annotated[int | None, Field(ge=16, description="side of a tile's window, pixels")] = (
        None
    )
    precision: Annotated[
        Literal["f32", "bf16"], Field(description="of the network's arithmetic")
    ] = "f32"
    workers: Annotated[int, Field(ge=0, le=1024, description="processes; 0 = this one")] = 0
    scheduler: Annotated[str | None, Field(description="address of a Dask scheduler")] = None
    min_area: Annotated[
        str | None, Field(description="drop polygons below: 0.5ha, 100m2, 25px")
    ] = None
    simplify: Annotated[str | None, Field(description="simplify polygons: 10m or 1px")] = None
    classes: Annotated[tuple[str, ...], Field(description="polygons of these classes only")] = ()
    confidence: Annotated[bool, Field(description="also write confidence.tif")] = False
    probabilities: Annotated[bool, Field(description="also write probabilities.tif")] = False
    strict: Annotated[bool, Field(description="refuse where a note would warn")] = False
    overwrite: Annotated[bool, Field(description="replace what is in the output folder")] = False
    resume: Annotated[bool, Field(description="go on with an interrupted job")] = False
    keep_work: Annotated[bool, Field(description="keep the tile store of a finished job")] = False

    @model_validator(mode="after")
    def _choices_agree(self) -> SegmentSettings:
        if self.overwrite and self.resume:
            raise ValueError("choose one: overwrite starts anew, resume goes on")
        if self.workers and self.scheduler:
            raise ValueError("choose one: workers starts processes here, scheduler uses a cluster")
        if "none" in self.format and len(self.format) > 1:
            raise ValueError("format none cannot go with other formats")
        return self

    @property
    def formats(self) -> tuple[str, ...]:
        """The vector formats to write, without repeats; empty for none."""
        return tuple(name for name in dict.fromkeys(self.format) if name != "none")
