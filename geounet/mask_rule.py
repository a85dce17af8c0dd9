"""How a cloud mask is written: the file, and which of its values or bits hide a pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from geounet.errors import SettingsError
from geounet.locations import shown

_RULE = re.compile(
    r"(?:(?P<file>.+?)(?::band=(?P<band>[1-9]\d{0,3}))?:)?"
    r"(?P<kind>values|bits)=(?P<numbers>\d{1,10}(?:,\d{1,10})*)"
)


@dataclass(frozen=True)
class MaskText:
    """``FILE:band=2:values=3,8`` taken apart; ``file`` is "" where a name stands for it."""

    file: str
    band: int
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


def parse_mask(text: str) -> MaskText:
    """The parts of a mask rule.

    Raises:
        SettingsError: if it is not written as FILE:values=… or FILE:bits=….
    """
    found = _RULE.fullmatch(text)
    if not found:
        raise SettingsError(
            f"mask {shown(text)!r}: write FILE:values=3,8,9,10 or FILE:bits=1,3,4 (with "
            f"FILE:band=2:… for another band than the first), or one of scl, qa_pixel, hls, fmask4"
        )
    numbers = tuple(int(n) for n in found["numbers"].split(","))
    if found["kind"] == "bits":
        if max(numbers) > 31:
            raise SettingsError(f"mask {shown(text)!r}: bits count from 0 to 31; correct the list")
        return MaskText(found["file"] or "", int(found["band"] or 1), bits=numbers)
    return MaskText(found["file"] or "", int(found["band"] or 1), values=numbers)
