"""Tables as CSV that a spreadsheet opens without running anything in them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

from geounet.atomic import placed

_FORMULA = re.compile(r"\s*[=+\-@\t\r|%]")
Cell = str | int | float | None


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table line by line; texts that a spreadsheet would run begin with an apostrophe.

    Raises:
        OutputError: if the file cannot be written.
    """
    with placed(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Cell) -> str:
    """As text; a number that is none leaves an empty cell."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return f"{value:.10g}" if isinstance(value, float) else str(value)
