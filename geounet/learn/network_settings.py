"""The network's size and kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from geounet.card import Architecture, BlockKind, Dilations, Finite

MOST_INPUTS = 256
"""Bands that a card's architecture may have."""


class NetworkSettings(Finite):
    """The network's size and kind; bands and outputs follow from the data.

    Memory and time grow with the square of ``base_filters``: 64 is the paper's, 16 suits a CPU.
    """

    depth: int = Field(default=4, ge=1, le=5)
    base_filters: int = Field(default=64, ge=1, le=256)
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)
    block: BlockKind = "plain"
    expansion: Annotated[int, Field(ge=1, le=8, description="of inverted bottlenecks")] = 4
    attention: Annotated[bool, Field(description="gates on what the encoder saw")] = False
    dilations: Annotated[Dilations, Field(description="3×3 convolutions at the bottom")] = ()
    members: Annotated[
        int,
        Field(
            ge=1, le=16, description="networks that map as one: better, and so many times slower"
        ),
    ] = 1
    remat: Annotated[bool, Field(description="less memory in training, more time")] = False

    def architecture(self, bands: int, outputs: int) -> Architecture:
        """What a model's card will say: all but how it was trained."""
        shared = self.model_dump(exclude={"remat"})
        return Architecture(bands=bands, outputs=outputs, **shared)
