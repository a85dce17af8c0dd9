"""report.html of jobs: right numbers, nothing from outside, and usable in a real browser."""

from __future__ import annotations

import html
import json
import re
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from geounet.pipelines.flood import flood

from geounet.card import NODATA, LandClass
from geounet.job_page import with_areas
from geounet.labelling import by_confidence
from geounet.segmentation import segment
from geounet.sensors import credit
from geounet.settings import SegmentSettings
from tests.browser import browser, opened
from tests.jobs import GRIDS, make_model, make_scene, read
from tests.made_dates import SHAPE, dates, flooding, model_of_two

HOSTILE = ('<script>alert("x")</script>', '"><img src=x onerror=alert(1)>', "Wasser & Eis </td>")
CLASSES = tuple(
    LandClass(value=k, name=name, colour=colour)
    for k, (name, colour) in enumerate(zip(HOSTILE, ("#d8cfb4", "#1f78b4", "#1b7837"), strict=True))
)
ZONES = 104
needs_browser = pytest.mark.skipif(browser() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A job whose classes are named by somebody who wishes us ill."""
    folder = tmp_path_factory.mktemp("hostile")
    model = make_model(folder / "m.safetensors", classes=CLASSES)
    out = folder / "out"
    segment(make_scene(folder / "scene<b>.tif"), model, out, SegmentSettings(window=64))
    return out


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    out, zones = folder / "flood", folder / "zones.geojson"
    strips(ZONES).to_file(zones)
    asked = flooding(zones=str(zones))
    flood(*dates(folder), out, model_of_two(folder / "two.safetensors"), asked)
    return out


def strips(count):
    """Zones of one width beside each other, some with names that wish us ill."""
    transform, crs = GRIDS["north-up"]
    edges = transform.c + 10 * SHAPE[1] * np.linspace(0, 1, count + 1)
    shapes = [
        shapely.box(left, transform.f - 10 * SHAPE[0], right, transform.f)
        for left, right in pairwise(edges)
    ]
    names = [*HOSTILE, *(f"Zone {k}" for k in range(len(HOSTILE), count))]
    return gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=crs).to_crs(4326)


def report_of(out):
    return json.loads((out / "report.json").read_text())


def test_confidence_is_counted_by_class_in_steps_of_five_percent(hostile, tmp_path):
    report = report_of(hostile)
    counts = report["confidence"]["counts"]
    for row in report["classes"]:
        assert sum(counts.get(row["name"], [0])) == row["pixels"]
    mask = np.array([[0, 0, 1], [NODATA, 7, 254]], np.uint8)
    percent = np.array([[0, 99, 100], [NODATA, 4, 5]], np.uint8)
    found = by_confidence(mask, percent)
    assert {k: np.flatnonzero(v).tolist() for k, v in found.items()} == {
        "0": [0, 19],
        "1": [19],
        "7": [0],
        "254": [1],
    }
    assert by_confidence(mask, None) == {}


def test_confidence_of_a_job_is_that_of_its_raster(tmp_path):
    model = make_model(tmp_path / "m.safetensors")
    scene = make_scene(tmp_path / "scene.tif")
    settings = SegmentSettings(window=64, confidence=True, formats=("none",))
    segment(scene, model, tmp_path / "out", settings)
    mask, percent = (read(tmp_path / "out" / f"{name}.tif") for name in ("mask", "confidence"))
    for row in report_of(tmp_path / "out")["classes"]:
        expected, _ = np.histogram(percent[mask == row["value"]], 20, (0, 100))
        counts = report_of(tmp_path / "out")["confidence"]["counts"]
        assert counts.get(row["name"], [0] * 20) == expected.tolist()


def test_the_valid_share_and_the_rates_are_those_of_the_map(hostile):
    report, mask = report_of(hostile), read(hostile / "mask.tif")
    assert report["valid_share"] == pytest.approx((mask != NODATA).mean())
    assert report["run"]["pixels_per_s"] * report["run"]["labelling_s"] == pytest.approx(mask.size)
    area = sum(row["area_ha"] for row in report["classes"]) / 100
    assert report["run"]["km2_per_s"] * report["run"]["labelling_s"] == pytest.approx(area)


def test_a_page_points_nowhere_and_runs_one_script(hostile, pair):
    for out in (hostile, pair):
        html = (out / "report.html").read_text()
        assert html.count("<script") == 1
        assert "onerror=alert(1)>" not in html.replace("&gt;", "")
        assert not re.findall(r'(?:src|href)="(?!data:image/)', html)
        assert not re.findall(r"url\((?!data:)", html)


def test_areas_that_an_assessment_adjusts_take_their_place(hostile):
    report = report_of(hostile)
    name = report["classes"][0]["name"]
    row = {"name": name, "area_ha": 12.3, "margin_ha": 2.0, "low_ha": 10.3, "high_ha": 14.3}
    changed = report | {"areas": "error-adjusted", "adjusted_areas": [row]}
    before = (hostile / "report.html").read_bytes()
    after = with_areas(before, changed)
    assert b"10.3 to 14.3" in after
    assert b"10.3 to 14.3" not in before
    assert b"pixel count, no accuracy" in before
    assert b"pixel count, no accuracy" not in after
    assert with_areas(after, report) == before
    assert with_areas(b"<p>another page</p>", report) == b"<p>another page</p>"


def test_credits_are_those_that_the_terms_of_the_data_ask_for():
    assert credit("S2", "2023-05-04") == ("Contains modified Copernicus Sentinel data 2023",)
    assert len(credit("HLS-S30", None)) == 2
    assert credit("L8-9", "2020-01-01") == ("Landsat data courtesy of the U.S. Geological Survey",)
    assert credit(None, "2020-01-01") == credit("drone", None) == ()


def test_zones_are_shown_by_what_was_flooded_the_first_hundred_of_them(pair):
    zones = report_of(pair)["zones"]["rows"]
    assert len(zones) == ZONES
    page = (pair / "report.html").read_text()
    table = page.split("Newly flooded by zone, the most first</p>")[1].split("</table>")[0]
    shown = [html.unescape(name) for name in re.findall(r'<th scope="row">(.*?)</th>', table)]
    flooded = {zone["zone"]: zone["of_ha"] for zone in zones}
    assert len(shown) == 100
    amounts = [flooded[name] for name in shown]
    assert amounts == sorted(flooded.values(), reverse=True)[:100]
    assert f"{ZONES - 100} more are in zones.csv." in page


@needs_browser
def test_hostile_names_are_text_in_a_browser(hostile, tmp_path):
    with opened(hostile / "report.html", tmp_path / "profile") as page:
        legend = page.value("document.querySelector('fieldset').textContent")
        shown = [row["name"] for row in report_of(hostile)["classes"] if row["pixels"]]
        assert shown
        assert all(name in legend for name in shown)
        assert page.value("document.querySelectorAll('script').length") == 1
        assert page.value("document.querySelector('.lead').textContent") == "scene_b"
        methods = [event["method"] for event in page.events]
        assert "Page.javascriptDialogOpening" not in methods
        assert not [e for e in page.events if e["method"] == "Log.entryAdded"]
        asked = [e["params"]["request"]["url"] for e in page.events if "request" in e["params"]]
        assert all(url.startswith(("file:", "data:")) for url in asked)


@needs_browser
def test_keys_move_the_swipe_and_hide_a_class(pair, tmp_path):
    style = "getComputedStyle(document.querySelector('.stage'))"
    with opened(pair / "report.html", tmp_path / "profile") as page:
        page.press("Tab")
        assert page.value("document.activeElement.name") == "--swipe"
        before = float(page.value(f"{style}.getPropertyValue('--swipe')"))
        for _ in range(10):
            page.press("ArrowRight")
        after = float(page.value(f"{style}.getPropertyValue('--swipe')"))
        assert after == pytest.approx(before + 0.1)
        clip = page.value("getComputedStyle(document.querySelector('.after')).clipPath")
        assert "60%" in clip
        page.press("Tab")
        assert page.value("document.activeElement.name") == "--opacity"
        page.press("ArrowLeft")
        opacity = page.value("getComputedStyle(document.querySelector('img.class')).opacity")
        assert float(opacity) == pytest.approx(0.59)
        page.press("Tab")
        layer = page.value("document.activeElement.dataset.shows")
        hidden = f"""[...document.querySelectorAll('[data-layer="{layer}"]')]
            .every(one => getComputedStyle(one).display === "none")"""
        assert layer.startswith("class-")
        assert not page.value(hidden)
        page.press(" ")
        assert page.value(hidden)
        page.press(" ")
        assert not page.value(hidden)


@needs_browser
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_page_is_wider_than_its_window(hostile, pair, tmp_path, width):
    for out in (hostile, pair):
        with opened(out / "report.html", tmp_path / out.parent.name) as page:
            page.resize(width, 800)
            assert page.value("document.documentElement.scrollWidth") <= width
            stage = page.value("document.querySelector('.stage').getBoundingClientRect().width")
            assert stage > 0.5 * min(width, 600)
            images = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
            assert page.value(images)


@needs_browser
def test_swipe_and_legend_show_what_they_say(pair, tmp_path):
    """The right half is the later date once the classes are out of sight."""
    with opened(pair / "report.html", tmp_path / "profile") as page:
        assert page.value("document.querySelectorAll('.stage > img.base').length") == 1
        assert page.value("document.querySelectorAll('.stage > img.after').length") == 1
        sources = "[...document.querySelectorAll('.base, .after')].map(one => one.src)"
        before, after = page.value(sources)
        assert before != after
        classes = page.value("document.querySelectorAll('img.class').length")
        with rasterio.open(pair / "mask.tif") as file:
            present = set(np.unique(file.read(1))) - {NODATA}
        assert classes == len(present)
        assert page.value("document.querySelectorAll('svg path').length") == len(present)
