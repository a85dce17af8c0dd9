"""What ``geounet assess`` says on standard output: tables that fit 80 columns."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from textwrap import fill

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geounet.assess.accuracy import HECTARE, Accuracy
from geounet.assess.assessment import Estimate
from geounet.assess.design_file import SampleDesign, design_path

_MOST_COLUMNS = 8
_SMALL_HA = 10_000


def print_design(design: SampleDesign, out: Path) -> None:
    """A line per stratum, the population and what is outside it, and the files."""
    table = _table("stratum", "pixels", "hectares", "points")
    for row in design.strata:
        hectares = f"{row.area_m2 / HECTARE:,.1f}"
        table.add_row(Text(row.name), f"{row.pixels:,}", hectares, f"{row.points:,}")
    console = Console(highlight=False, markup=False)
    console.print(table)
    outside = (design.outside_pixels, design.outside_m2)
    _say(
        console,
        f"{len(design.points)} points; expected standard error of overall accuracy: "
        f"{design.expected_se:.4f}",
        _population(sum(s.area_m2 for s in design.strata), outside, design.hidden_ha),
        "Interpret each pixel, without looking at the map, and fill in the field `class`. Give "
        "only the .gpkg to whoever interprets.",
    )
    for path in (out, design_path(out)):
        console.print(f"  {path}", soft_wrap=True)


def print_accuracy(found: Accuracy) -> None:
    """Accuracies and areas with 95 % intervals, the error matrix, and what they speak for."""
    judged, console = found.assessment, Console(highlight=False, markup=False)
    table = _table("class", "user's accuracy", "producer's accuracy")
    for name, *pair in zip(judged.classes, judged.users, judged.producers, strict=True):
        table.add_row(Text(name), *(_share(e) for e in pair))
    console.print(table)
    console.print()
    areas = _table("class", "mapped ha", "estimated ha", "95 % interval, ha")
    unit = judged.total / HECTARE
    digits = 1 if unit < _SMALL_HA else 0
    for name, mapped, e in zip(judged.classes, found.mapped, judged.shares, strict=True):
        area, margin, low, high = (
            f"{share * unit:,.{digits}f}" for share in (e.value, e.margin, e.low, e.high)
        )
        before = f"{mapped / HECTARE:,.{digits}f}"
        areas.add_row(Text(name), before, f"{area} ± {margin}", f"{low} – {high}")
    console.print(areas)
    console.print()
    _print_matrix(console, found)
    _say(
        console,
        f"overall accuracy {_share(judged.overall)}",
        f"{found.points} points, {found.how}; estimators: {judged.source}",
        _population(judged.total, found.outside, found.hidden_ha),
        "± is 1.96 standard errors; the intervals in brackets hold better for few points",
    )
    if found.out:
        took = " (and the report of the job takes its areas)" if found.reported else ""
        console.print(f"  {found.out}{took}", soft_wrap=True)


def _print_matrix(console: Console, found: Accuracy) -> None:
    """The error matrix in proportions of the area; columns by number, in the rows' order."""
    judged = found.assessment
    number = len(judged.classes)
    if number > _MOST_COLUMNS:
        _say(console, f"error matrix: {number} classes are too many to print; give --out FILE")
        return
    table = _table("error matrix", *(f"({k})" for k in range(1, number + 1)))
    for k, (name, row) in enumerate(zip(judged.classes, judged.matrix, strict=True), 1):
        table.add_row(Text(f"({k}) {name}"), *(f"{v:.4f}" for v in row))
    console.print(table)
    _say(console, "rows: map, columns: reference, in proportions of the area")
    console.print()


def _table(first: str, *others: str) -> Table:
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _share(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return "no points"
    ends = f"({estimate.low:.2f}–{estimate.high:.2f})"
    return f"{estimate.value:.2f} ± {estimate.margin:.2f} {ends}"


def _population(area: float, outside: tuple[int, float], hidden_ha: float | None) -> str:
    text = f"target population: {area / HECTARE:,.1f} ha"
    if outside[0]:
        lost = f"{outside[1] / HECTARE:,.1f} ha ({outside[0]:,} pixels)"
        text += f"; outside it: {lost} without a class"
        if hidden_ha:
            text += f", of which a cloud mask hid {hidden_ha:,.1f} ha"
    return text


def _say(console: Console, *texts: str) -> None:
    for text in texts:
        console.print(fill(text, 80, subsequent_indent="  "))
