"""report.html of a job: the map to look at, areas, confidence, time, and what it was made of.

A pure function of what report.json holds, and of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from geounet import page
from geounet.page import Markup
from geounet.viewer import SCRIPT, View, viewer

Report = Mapping[str, Any]
FOOT = (
    "Areas are geodesic, on the ellipsoid of the scene's CRS. Counts of pixels carry the map's "
    "errors; geounet assess estimates areas with their uncertainty."
)
_MOST_NAMED = 6
_MOST_ZONES = 100


def job_page(report: Report, view: View, title: str) -> bytes:
    """The page, encoded; its pictures are embedded, and it opens without a network."""
    sections = [
        short_section(report),
        page.section("Map", viewer(view, _in_words(report, view))),
        area_section(report),
        *_zones(report),
        *_dates(report),
        *_holes(report),
        *_confidence(report),
        page.section("Time", page.fields("How long it took, and how fast", _time(report["run"]))),
        _model(report["model"]),
        page.section("Notes", page.bullets(report["notes"] or ["None."])),
        _provenance(report),
    ]
    return page.page(title, _lead(report), sections, FOOT, SCRIPT)


def _holes(report: Report) -> list[Markup]:
    """Tiles that could not be done: their pixels count as no data above."""
    lost = report.get("lost_tiles", [])
    if not lost:
        return []
    rows = [
        f"Tile {tile['tile']}, rows {tile['rows'][0]}–{tile['rows'][1]}, columns "
        f"{tile['columns'][0]}–{tile['columns'][1]}: {tile['cause']}"
        for tile in lost
    ]
    return [page.section("Holes: could not be done, and have no data", page.bullets(rows))]


def short_section(report: Report) -> Markup:
    """Short answers, of which one is what kind of areas there are."""
    return _marked("in short", page.section("In short", page.facts(_short_answers(report))))


def area_section(report: Report) -> Markup:
    """The table of areas."""
    adjusted = {row["name"]: row for row in report.get("adjusted_areas", [])}
    rows = [_area_row(row, adjusted, report) for row in report["classes"]]
    features = ["polygons, ha"] if "features_ha" in report else []
    headings = ["class", *(["area, ha"] if adjusted else []), "mapped, ha", *features]
    caption = f"Areas: {report['areas']}."
    below = [f"A mask hid {_number(report['hidden_ha'])} ha. Shares are of what is mapped."]
    if adjusted:
        below.append("Area is the estimate, with its 95 % interval; mapped is the count of pixels.")
    section = page.section(
        "Areas",
        page.table(caption, [*headings, "share", "pixels"], rows),
        *(page.paragraph(text, hint=True) for text in below),
    )
    return _marked("areas", section)


def with_areas(html: bytes, report: Report) -> bytes:
    """A page with the areas that ``report`` has now; as it is, if it has no place for them."""
    text = html.decode("utf-8")
    for name, section in (("in short", short_section), ("areas", area_section)):
        start, end = _marks(name)
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        text = before + section(report).html + after if found else text
    return text.encode("utf-8", "replace")


def _marked(name: str, section: Markup) -> Markup:
    """Between marks, by which ``with_areas`` finds it again."""
    start, end = _marks(name)
    return Markup(f"{start}\n{section.html}\n{end}")


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- end of {name} -->"


def _lead(report: Report) -> str:
    scenes = report.get("dates") or report.get("scenes") or [report["scene"]]
    names = [f"{s['scene'] if 'scene' in s else s['name']}{_dated(s)}" for s in scenes]
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return "; ".join([*names[:_MOST_NAMED], *more])


def _dated(date: Mapping[str, Any]) -> str:
    return f", {date['date']}" if date.get("date") else ""


def _short_answers(report: Report) -> dict[str, page.Content]:
    run, lost = report["run"], len(report.get("lost_tiles", []))
    holes: dict[str, page.Content] = {"Not done": f"{lost} tile{'s' * (lost > 1)}"} if lost else {}
    return holes | {
        "Mapped": _mapped(report),
        "Hidden by a mask": f"{_number(report['hidden_ha'])} ha",
        "Polygons": f"{report['features']:,}",
        "Rate": f"{_number(run['km2_per_s'])} km²/s",
        "Areas": report["areas"],
    }


def _mapped(report: Report) -> str:
    share = _percent(report["valid_share"])
    return f"{share} of the scene, inside {report['aoi']}" if report.get("aoi") else share


def _in_words(report: Report, view: View) -> str:
    shares = ", ".join(f"{row['name']} {_percent(row['share'])}" for row in report["classes"])
    over = " and ".join(view.names)
    return f"Map over {over}: {shares}. The table of areas has the numbers."


def _area_row(
    row: Mapping[str, Any], adjusted: Mapping[str, Mapping[str, Any]], report: Report
) -> list[page.Content]:
    cells: list[page.Content] = [
        page.class_label(row["name"], report["colours"][str(row["value"])])
    ]
    if adjusted:
        cells.append(_with_interval(adjusted.get(row["name"])))
    cells.append(_number(row["area_ha"]))
    if "features_ha" in report:
        cells.append(_number(report["features_ha"].get(row["name"], 0.0)))
    return [*cells, _percent(row["share"]), f"{row['pixels']:,}"]


def _with_interval(area: Mapping[str, Any] | None) -> page.Content:
    if area is None:
        return "–"
    extent = f"{_number(area['low_ha'])} to {_number(area['high_ha'])}"
    return page.with_range(_number(area["area_ha"]), extent)


def _zones(report: Report) -> Iterator[Markup]:
    if "zones" not in report:
        return
    what, zones = report["zones"]["of"], report["zones"]["rows"]
    largest = sorted(zones, key=lambda zone: zone["of_ha"] or 0.0, reverse=True)[:_MOST_ZONES]
    rows: list[list[page.Content]] = [
        [
            zone["zone"],
            _number(zone["of_ha"]),
            _percent(zone["share"]),
            _number(zone["mapped_ha"]),
            _number(zone["on_scene_ha"]),
        ]
        for zone in largest
    ]
    headings = ["zone", f"{what}, ha", "share of mapped", "mapped, ha", "on the scene, ha"]
    rest = len(zones) - len(largest)
    more = f" {rest:,} more are in zones.csv." if rest else ""
    hint = "Counts of pixels; zones.csv has the hectares of every class." + more
    yield page.section(
        "Zones",
        page.table(f"{what.capitalize()} by zone, the most first", headings, rows),
        page.paragraph(hint, hint=True),
    )


def _dates(report: Report) -> Iterator[Markup]:
    if "dates" not in report:
        return
    target = " or ".join(report["target"])
    rows = [
        [
            date["scene"],
            date["date"] or "–",
            _number(date["hidden_ha"]),
            _number(date["hidden_target_ha"]),
        ]
        for date in report["dates"]
    ]
    shifts = [_shift(shift) for shift in report["shifts"]]
    headings = ["scene", "date", "hidden, ha", f"of that {target}, ha"]
    yield page.section(
        "Dates",
        page.table(f"What masks hid, and what of it the model calls {target}", headings, rows),
        page.bullets([*shifts, f"The score of a change is a {report['score']}."]),
    )


def _shift(shift: Mapping[str, Any]) -> str:
    if not shift["known"]:
        return f"{shift['scene']}: whether it lies on the first scene cannot be told."
    return (
        f"{shift['scene']}: lies {shift['rows']:+.2f} rows and {shift['columns']:+.2f} columns off "
        "the first scene, in pixels."
    )


def _confidence(report: Report) -> Iterator[Markup]:
    counts = report["confidence"]["counts"]
    if not counts:
        return
    what = report["confidence"]["measure"]
    parts = [
        page.histogram(row["name"], report["colours"][str(row["value"])], counts[row["name"]])
        for row in report["classes"]
        if row["name"] in counts
    ]
    yield page.section(what.capitalize(), page.paragraph(_MEANS[what], hint=True), *parts)


_MEANS = {
    "confidence": "Pixels of each class by the model's probability of it, in steps of 5 %.",
    "score": "Pixels of each class by score, in steps of 5 %. It is no probability.",
}


def _time(run: Mapping[str, float]) -> dict[str, page.Content]:
    workers = (
        f"{stage} {run[f'tiles_{stage}_s']:,.1f} s" for stage in ("read", "compute", "write")
    )
    return {
        "labelling": f"{run['labelling_s']:,.1f} s",
        "writing": f"{run['writing_s']:,.1f} s",
        "added up over workers": ", ".join(workers),
        "rate": f"{run['pixels_per_s']:,.0f} pixels/s, {_number(run['km2_per_s'])} km²/s",
    }


def _model(model: Mapping[str, Any]) -> Markup:
    accuracy = "; ".join(f"{name} {text}" for name, text in model["accuracy"].items())
    shown = {
        "model": model["name"],
        "SHA-256": model["sha256"],
        "accuracy, as its card states it": accuracy or "its card states none",
        "trained on": model["training_data"] or "its card does not say",
        "licence of that data": model["training_licence"] or "its card does not say",
    }
    return page.section("Model", page.fields("The model that made the map", shown))


def _provenance(report: Report) -> Markup:
    identity = yaml.safe_dump(report["fingerprint"], sort_keys=False, allow_unicode=True)
    files = ", ".join(report["files"])
    shown = {**report["fingerprint"]["versions"], "files": files}
    return page.section(
        "Provenance",
        page.bullets(report["credits"] or ["No credit is known for these inputs."]),
        page.fields("Versions that the map depends on, and its files", shown),
        page.details("Inputs and settings", page.verbatim(identity)),
    )


def _number(value: float | None) -> str:
    """Three digits that count, and never fewer than those before the point."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 or value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(digits, 4)}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
