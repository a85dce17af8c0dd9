"""How a scene is to be read where its own metadata does not say: one value, from flags or YAML.

No raster library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from geounet.card import Frozen

Sensor = Literal["S2", "L4-7", "L8-9", "HLS-L30", "HLS-S30"]
Resampling = Literal["bilinear", "nearest", "cubic"]

BANDS_HELP = "band by name: blue=B02.jp2, nir=4 (band index), red=DESCRIPTION"
MASK_HELP = "FILE:values=3,8,9,10, FILE:bits=1,3,4, scl, qa_pixel, hls or fmask4"
OFFSET_HELP = "physical value = number * scale + offset; Sentinel-2: 0 or -0.1"
PRIVATE_HELP = "open addresses inside this machine or network too"
DEADLINE_HELP = "seconds after which a piece of a remote file is given up, retries included"


def _not_zero(value: float) -> float:
    if not value:
        raise ValueError("is 0, which would make all pixels equal; give the scale of the numbers")
    return value


Scale = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_not_zero)]


class SceneOptions(Frozen):
    """What the user says of a scene; every field that is None is taken from its metadata.

    ``physical = number * scale + offset``; ``mask_dilate`` is in pixels of the scene's grid;
    ``resolution`` is in CRS units and resamples the whole scene.
    """

    bands: Annotated[dict[str, str], Field(description=BANDS_HELP)] = Field(default_factory=dict)
    sensor: Sensor | None = Field(default=None, description="which sensor B2, B5 … belong to")
    mask: Annotated[tuple[str, ...], Field(description=MASK_HELP)] = ()
    mask_dilate: int = Field(default=0, ge=0, le=1000, description="grow masks by PX pixels")
    scale: Scale | None = Field(default=None, description=OFFSET_HELP)
    offset: float | None = Field(default=None, allow_inf_nan=False, description=OFFSET_HELP)
    nodata: float | None = Field(default=None, description="the number that means no data")
    resampling: Resampling = Field(
        default="bilinear", description="for bands that lie on another grid than the scene"
    )
    resolution: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="resample to this pixel size"
    )
    assume_crs: str | None = Field(
        default=None, max_length=4000, description="CRS of files that have none, e.g. EPSG:32633"
    )
    allow_vrt: bool = Field(default=False, description="open VRT files, and the files they name")
    allow_private: bool = Field(default=False, description=PRIVATE_HELP)
    read_deadline: float = Field(default=120.0, gt=0, le=86_400, description=DEADLINE_HELP)
    max_pixels: int = Field(
        default=100_000_000_000, ge=1, description="refuse scenes of more pixels than this"
    )
