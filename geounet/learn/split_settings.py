"""What is held out for validation, and how training samples are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geounet.card import Finite

Name = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Of scenes and values of columns: YAML reads a year as a number."""


class BlockSettings(Finite):
    """Square blocks of each scene; a ``share`` of them is drawn for validation.

    ``buffer`` is the distance in pixels that training keeps from them; left out, it is the
    network's receptive radius, and a smaller one is refused: the network that maps a validation
    pixel would see training pixels.
    """

    size: Annotated[int, Field(ge=2, description="side of a block in pixels; at least chip")]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    buffer: Annotated[int | None, Field(ge=0)] = None


class SplitSettings(Finite):
    """What validation holds; say one of four things.

    ``{column: place, values: [a, b]}``: scenes whose column of the table holds one of the values.
    ``{scenes: [a, b]}``: scenes by name. ``{blocks: {size: 512, share: 0.2}}``: blocks of every
    scene. ``{folds: 5, fold: 0, by: scene}``: the first of five folds of scenes; ``by: column``
    keeps scenes of one value of ``column`` together, ``by: block`` deals out ``blocks``.
    """

    column: str | None = None
    values: tuple[Name, ...] = ()
    scenes: tuple[Name, ...] = ()
    blocks: BlockSettings | None = None
    folds: Annotated[int | None, Field(ge=2, le=1000)] = None
    fold: Annotated[int, Field(ge=0, description="which fold is held out, from 0")] = 0
    by: Literal["scene", "column", "block"] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="draws the blocks")] = 0

    @model_validator(mode="after")
    def _says_one_thing(self) -> SplitSettings:
        if self.folds is None:
            ways = [bool(self.column or self.values), bool(self.scenes), bool(self.blocks)]
            if sum(ways) != 1 or bool(self.column) != bool(self.values):
                raise ValueError(
                    "say one of: column with values; scenes; blocks; or folds with fold and by"
                )
            if self.by is not None or self.fold:
                raise ValueError("fold and by belong to folds: say how many folds there are")
            return self
        if self.values or self.scenes:
            raise ValueError("folds deal out every scene: leave values and scenes out")
        needs = {"column": self.by == "column", "blocks": self.by == "block"}
        for field, needed in needs.items():
            if (getattr(self, field) is not None) != needed:
                raise ValueError(f"folds by {self.by}: {'give' if needed else 'leave out'} {field}")
        if self.by is None:
            raise ValueError("folds: say by scene, by column or by block")
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: the last is {self.folds - 1}")
        return self


class SamplingSettings(Finite):
    """Which chips an epoch shows.

    ``every`` shows each chip of a fixed grid once, in a drawn order. ``random`` draws crops around
    labelled pixels, all alike. ``balanced`` first draws a class, with a chance proportional to its
    share of the labelled pixels to the ``power`` (0: all classes alike; 1: as ``random``), and
    then a crop that holds a pixel of it: for classes below 1 %.
    """

    kind: Literal["every", "random", "balanced"] = "every"
    power: Annotated[float, Field(ge=0, le=1)] = 0.0
    batches: Annotated[
        int | None, Field(ge=1, description="per epoch; left out, as many as cover the ground")
    ] = None

    @model_validator(mode="after")
    def _every_chip_is_shown(self) -> SamplingSettings:
        if self.kind == "every" and self.batches is not None:
            raise ValueError("batches needs kind random or balanced: every shows each chip once")
        if self.kind != "balanced" and self.power:
            raise ValueError("power needs kind balanced")
        return self
