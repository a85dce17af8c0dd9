"""The network's size and kind."""

from __future__ import annotations

from pydantic import Field

from geounet.card import Frozen


class NetworkSettings(Frozen):
    """The network's size; bands and outputs follow from the data."""

    depth: int = Field(default=4, ge=1, le=5)
    base_filters: int = Field(default=16, ge=1, le=256)
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)
