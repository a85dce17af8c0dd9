"""What a user may ask of a job that compares dates: one definition for flags, YAML and Python.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from geounet.errors import SettingsError
from geounet.scene_options import MASK_HELP, SceneOptions
from geounet.settings import JobSettings
from geounet.vector_settings import AreaText


class ChangeSettings(JobSettings):
    """How scenes of several dates are read and compared, and what is written of the change."""

    target: Annotated[
        tuple[str, ...],
        Parameter(name="--target"),
        Field(min_length=1, description="the model's classes that count, by name or value"),
    ] = ("water",)
    threshold: Annotated[
        float, Field(gt=0, lt=1, description="least probability of the class, on each date")
    ] = 0.5
    mask_before: Annotated[
        tuple[str, ...], Field(description=f"of the first date only: {MASK_HELP}")
    ] = ()
    mask_after: Annotated[
        tuple[str, ...], Field(description="of the second of two dates only, likewise")
    ] = ()
    score: Annotated[bool, Field(description="also write score.tif")] = False

    def of_date(self, date: int, dates: int) -> SceneOptions:
        """How the scene of a date is read.

        Raises:
            SettingsError: if a mask is of the second of two dates, and there are more.
        """
        if self.mask_after and dates > 2:
            raise SettingsError(
                "--mask-after is of the second of two dates; with more, give each scene its mask "
                "in a scene.yaml, or one rule for all with --mask"
            )
        own = {0: self.mask_before, 1: self.mask_after}.get(date, ())
        return self.model_copy(update={"mask": own or self.mask})


class FloodSettings(ChangeSettings):
    """How water before and after a flood is compared."""

    permanent_water: Annotated[
        str | None,
        Field(description="raster of water that lasts, on any grid: any number but 0"),
    ] = None


class DeforestationSettings(ChangeSettings):
    """How forest on two or more dates is compared."""

    target: Annotated[
        tuple[str, ...],
        Parameter(name="--target"),
        Field(min_length=1, description="the model's classes that count, by name or value"),
    ] = ("forest",)
    min_area: Annotated[
        AreaText | None,
        Field(description="drop polygons and alerts below: 0.5ha, 100m2, 25px"),
    ] = "0.5ha"
