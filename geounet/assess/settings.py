"""What a user may ask of ``geounet assess``: one definition for flags and Python.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from geounet.card import Frozen

Method = Literal["stratified", "simple"]
Allocation = Literal["neyman", "proportional", "equal"]
USUAL_ACCURACY = 0.85


class DesignSettings(Frozen):
    """Which pixels are drawn, and how many."""

    size: Annotated[int | None, Field(ge=2, le=1_000_000, description="points to draw")] = None
    target_se: Annotated[
        float | None,
        Field(gt=0, lt=0.5, description="instead of --size: standard error of overall accuracy"),
    ] = None
    method: Annotated[
        Method, Field(description="stratified by class if left out, or simple random")
    ] = "stratified"
    allocation: Annotated[
        Allocation, Field(description="of the points to the strata; proportional if left out")
    ] = "proportional"
    at_least: Annotated[int, Field(ge=2, description="points of every stratum, 50 if left out")] = (
        50
    )
    expect: Annotated[
        tuple[str, ...],
        Field(description="accuracy: forest=0.9 of a class, 0.8 of all others; 0.85 if left out"),
    ] = ()
    strata: Annotated[
        Path | None, Field(description="raster of strata on the map's grid; left out, its classes")
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="another seed, another sample")] = 0
    overwrite: Annotated[bool, Field(description="replace what is there")] = False

    @model_validator(mode="after")
    def _choices_agree(self) -> DesignSettings:
        if self.size is not None and self.target_se is not None:
            raise ValueError(
                "choose one: --size counts points, --target-se finds how many it takes"
            )
        if self.method == "simple" and self.strata is not None:
            raise ValueError("choose one: --strata, or --method simple, which has no strata")
        self.accuracies  # noqa: B018 - reading them checks them
        return self

    @property
    def accuracies(self) -> dict[str, float]:
        """Class or stratum → accuracy that is expected there; "" is all others."""
        found = {"": USUAL_ACCURACY}
        for text in self.expect:
            name, _, number = text.rpartition("=")
            try:
                found[name.strip()] = float(number)
            except ValueError:
                found[name.strip()] = -1.0
            if not 0 < found[name.strip()] < 1:
                raise ValueError(
                    f"--expect {text}: write an accuracy above 0 and below 1, as in forest=0.9"
                )
        return found


class EstimateSettings(Frozen):
    """How an interpreted sample is read, and what is written of it."""

    design: Annotated[
        Path | None, Field(description="file of the design; left out, beside the points")
    ] = None
    allow_missing: Annotated[
        bool, Field(description="go on without the points that have no class yet")
    ] = False
    out: Annotated[
        Path | None,
        Field(description="JSON to write, or the map's job folder, for its accuracy.json"),
    ] = None
    overwrite: Annotated[bool, Field(description="replace what is there")] = False
