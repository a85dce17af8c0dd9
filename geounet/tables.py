"""What commands say on standard output of what they did: tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geounet.assess.accuracy_file import PIXEL_COUNT, adjusted_areas
from geounet.learn.evaluation_report import Evaluation
from geounet.outputs import MapWithHolesError, Results
from geounet.planning import JobPlan
from geounet.scene import Scene
from geounet.style import printable


class Planned(Protocol):
    """A job of which no pixel was read."""

    @property
    def plan(self) -> JobPlan: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


def print_plan(job: Planned) -> None:
    """What a job would take: tiles, memory and disk, and what to know before."""
    console, aside = (Console(stderr=s, highlight=False, markup=False) for s in (False, True))
    for name, text in job.plan.describe().items():
        console.print(f"  {name:9} {text}", soft_wrap=True)
    for note in job.notes:
        aside.print(f"note: {note}", soft_wrap=True)


def print_results_of(job: Callable[[], Results]) -> None:
    """Do a job and print its results, also those of a map with holes."""
    try:
        results = job()
    except MapWithHolesError as error:
        print_results(error.results)
        raise
    print_results(results)


def print_results(results: Results) -> None:
    """A line per class, what no class covers, and the files."""
    table = Table(title=None, box=None, pad_edge=False)
    for heading in ("class", "pixels", "hectares", "share"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    adjusted = adjusted_areas(results.out)
    for row in results.classes:
        share = f"{100 * row.share:.1f} %"
        table.add_row(Text(row.name), f"{row.pixels:,}", f"{row.area_ha:,.1f}", share)
    if results.hidden_ha:
        table.add_row("hidden by a mask", "", f"{results.hidden_ha:,.1f}", "")
    table.add_row("no data", f"{results.nodata_pixels:,}", "", "")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"areas: {adjusted.says if adjusted else PIXEL_COUNT}")
    for area in adjusted.classes if adjusted else ():
        console.print(f"  {area.name}: {area.area_ha:,.1f} ± {area.margin_ha:,.1f} ha")
    for path in results.files:
        console.print(f"  {path}", soft_wrap=True)


def print_scores(found: Evaluation) -> None:
    """A line per class, the overall scores with their intervals, and the files."""
    table = Table(title=None, box=None, pad_edge=False)
    shown = ("f1", "precision", "recall", "boundary_f1")
    for heading in ("class", "pixels", "iou", *shown):
        justify: Literal["left", "right"] = "left" if heading == "class" else "right"
        table.add_column(heading.replace("_", " "), justify=justify)
    for row in found.report["classes"]:
        # Their intervals are in evaluation.json: the lines must fit a terminal.
        scores = [_with_interval(row["iou"]), *(_score(row[name]["value"]) for name in shown)]
        table.add_row(Text(row["name"]), f"{row['pixels']:,}", *scores)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for name, score in found.report["overall"].items():
        console.print(f"{name.replace('_', ' ')}: {_with_interval(score)}", soft_wrap=True)
    spread = found.report["intervals"]
    over = f"95 % intervals over {spread['groups']} groups by {spread['over']}"
    if spread["groups"] < 2:
        over = f"no interval: one {spread['over']} only"
    console.print(f"{found.part}: {found.report['pixels']:,} pixels; {over}")
    for path in found.files:
        console.print(f"  {path}", soft_wrap=True)


def _with_interval(score: dict[str, float | None]) -> str:
    low, high = score["low"], score["high"]
    return _score(score["value"]) + ("" if low is None else f" ({low:.3f}–{high:.3f})")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def print_scene(scene: Scene) -> None:
    """Grid, sensor and masks of a scene, a line per band, and its notes."""
    console, said = Console(highlight=False, markup=False), scene.describe()
    for name, text in _fields_of(scene):
        console.print(f"{name:8} {printable(text)}", soft_wrap=True)
    several = len({band["file"] for band in said["bands"]}) > 1
    table = Table(box=None, pad_edge=False)
    for heading in ("band", "number", "type", "scale", "offset", "no data", "pixel"):
        table.add_column(heading)
    if several:
        table.add_column("file", overflow="fold")
    for band in said["bands"]:
        numbers = (_number(band[key]) for key in ("scale", "offset", "nodata"))
        files = [Path(band["file"]).name] if several else []
        cells = (band["name"], str(band["band"]), band["dtype"], *numbers, _size(band), *files)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print()
    console.print(table)
    for note in said["notes"]:
        console.print(f"note: {printable(note)}", soft_wrap=True)


def _fields_of(scene: Scene) -> Iterator[tuple[str, str]]:
    said = scene.describe()
    (left, top), _, (right, bottom), _ = said["corners"]
    code, name = scene.grid.crs.to_epsg(), scene.grid.crs.to_wkt().split('"')[1]
    yield "scene", said["name"]
    yield "size", f"{said['rows']:,} rows × {said['columns']:,} columns"
    yield "pixel", f"{_size(said)}, in the unit of the CRS"
    yield "crs", f"EPSG:{code}, {name}" if code else name
    yield "corners", f"first {left:.10g} {top:.10g}, opposite {right:.10g} {bottom:.10g}"
    for what in ("sensor", "level", "date"):
        yield what, said[what] or "unknown"
    yield "masks", "; ".join(map(_mask, said["masks"])) or "none"


def _mask(said: dict[str, Any]) -> str:
    kind = "values" if "values" in said else "bits"
    return f"{Path(said['file']).name}:{said['band']} {kind} {', '.join(map(str, said[kind]))}"


def _size(said: dict[str, Any]) -> str:
    height, width = said["pixel_size"]
    return f"{height:g} × {width:g}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
