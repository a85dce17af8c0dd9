"""From the values of labels to class indices: classes, remapping, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from geounet.card import NODATA, LandClass
from geounet.errors import InputError, SettingsError
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_settings import ClassKey

UNLABELLED = int(np.iinfo(np.int64).min)
"""Stands among label values for ground without a label; no file can hold it by accident."""
SHOWN = 8
"""Names or values that a message lists before it only counts the rest."""


@dataclass(frozen=True)
class Coding:
    """Which class index each label value means; every other value means nothing, 255."""

    values: tuple[int, ...]
    indices: tuple[int, ...]

    def encode(self, values: Int64[np.ndarray, "row col"]) -> UInt8[np.ndarray, "row col"]:
        """Class indices of label values."""
        known = np.array(self.values)
        place = np.searchsorted(known, values).clip(max=len(known) - 1)
        meant = np.array(self.indices, np.uint8)[place]
        return np.where(known[place] == values, meant, np.uint8(NODATA))


def coding_of(data: DataSettings, classes: Sequence[LandClass]) -> Coding:
    """The coding that classes and ``data.remap`` (many to one) define.

    Raises:
        SettingsError: if ``data.remap`` means a class that there is not.
    """
    index = {c.value: k for k, c in enumerate(classes)}
    meaning = dict(sorted({**{c: c for c in index}, **_remap(data, classes)}.items()))
    return Coding(tuple(meaning), tuple(index.get(m, NODATA) for m in meaning.values()))


def class_value(key: ClassKey, classes: Sequence[LandClass], field: str) -> int:
    """The value of a class that a setting gives by value or name.

    Raises:
        SettingsError: if no class, or more than one, has that value or name.
    """
    kind = "value" if isinstance(key, int) else "name"
    found = [c.value for c in classes if getattr(c, kind) == key]
    if len(found) != 1:
        known = some([f"{c.value} {c.name}" for c in classes])
        raise SettingsError(
            f"{field}: {key} is not the {kind} of one class; the classes are {known}"
        )
    return found[0]


def refuse_unknown(
    counts: Mapping[int, int], data: DataSettings, classes: Sequence[LandClass]
) -> None:
    """Each label value must be a class, ignored, or remapped to one of these.

    Args:
        counts: pixels by label value, over all scenes; ``UNLABELLED`` may be among them.
        data: with ``remap`` and ``ignore``.
        classes: the classes to learn.

    Raises:
        InputError: listing the unknown values with their pixel counts, and what to write.
    """
    seen = {value: n for value, n in sorted(counts.items()) if value != UNLABELLED and n}
    known = {c.value for c in classes} | set(data.ignore)
    remap = _remap(data, classes)
    strange = {value: n for value, n in seen.items() if remap.get(value, value) not in known}
    where = f"{data.root}: {some(data.labels)}"
    if set(seen) == {0, 255} and 255 in strange:
        raise InputError(
            f"{where}: the labels hold only 0 and 255, as a picture's black and white do; "
            f"if 255 marks the second class, add `remap: {{255: {classes[1].value}}}` (that is "
            f"`255: {classes[1].value}`) under data"
        )
    if strange:
        listed = some([f"{value} ({n} pixels)" for value, n in strange.items()])
        raise InputError(
            f"{where}: labels that are no class: {listed}; name them under classes, "
            f"data.remap or data.ignore{_suggestion(list(strange))}"
        )


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _remap(data: DataSettings, classes: Sequence[LandClass]) -> dict[int, int]:
    return {
        value: class_value(key, classes, f"data.remap {value}") for value, key in data.remap.items()
    }


def _suggestion(strange: list[int]) -> str:
    """Values that no class can have need a remap: the line to write."""
    beyond = [value for value in strange if not 0 <= value < NODATA]
    if not beyond:
        return ""
    lines = ", ".join(f"{value}: CLASS" for value in beyond[:SHOWN])
    return f"; a class has a value from 0 to 254, so write `remap: {{{lines}}}` for the others"
