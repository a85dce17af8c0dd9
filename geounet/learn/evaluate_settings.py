"""What a user may ask of ``geounet evaluate``: one definition for flags and Python.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from geounet.settings import ComputeSettings

Part = Literal["validation", "training", "all"]


class EvaluateSettings(ComputeSettings):
    """Which labels a model is compared with, how, and what is written of it."""

    split: Annotated[
        Part | None,
        Field(description="which labels; left out, validation if the config has one, else all"),
    ] = None
    group: Annotated[
        str | None,
        Field(description="column of the table whose values are drawn together; left out, scenes"),
    ] = None
    tolerance: Annotated[
        float, Field(ge=0, le=64, description="of boundary F1: distance in pixels that matches")
    ] = 2.0
    draws: Annotated[
        int, Field(ge=100, le=1_000_000, description="of the bootstrap, for 95 % intervals")
    ] = 10_000
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the bootstrap")] = 0
    fit_temperature: Annotated[
        Path | None,
        Field(description="also write the model with the temperature that suits these labels"),
    ] = None
    overwrite: Annotated[bool, Field(description="replace what is there")] = False

    @model_validator(mode="after")
    def _a_model_file(self) -> EvaluateSettings:
        if self.fit_temperature is not None and self.fit_temperature.suffix != ".safetensors":
            raise ValueError("--fit-temperature: name a .safetensors file for the new model")
        return self
