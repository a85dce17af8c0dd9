"""Jobs that compare dates: no seams, nothing lost, and what does not go together is refused."""

from __future__ import annotations

import csv
import html
import json
import signal

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from geounet.pipelines.flood import flood, question

from geounet.card import NODATA
from geounet.change_preparation import prepare_change
from geounet.errors import GeounetError, InputError, ModelError, SettingsError
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import GRIDS, make_scene, read
from tests.made_dates import SHAPE, dates, flooding, layer, model_of_two, off_grid
from tests.made_scenes import write
from tests.test_segment import StopsAfter, outputs


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return model_of_two(tmp_path_factory.mktemp("model") / "two.safetensors")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return dates(tmp_path_factory.mktemp("dates"))


def report_of(out):
    return json.loads((out / "report.json").read_text())


def test_a_flood_is_what_two_segmentations_say_of_each_pixel(pair, two, tmp_path):
    results = flood(*pair, tmp_path / "out", two, flooding(formats=("gpkg", "geojson")))
    plain = SegmentSettings(window=64, formats=("none",))
    for scene in pair:
        segment(scene, two, tmp_path / scene.stem, plain)
    was, now = (read(tmp_path / scene.stem / "mask.tif") for scene in pair)
    valid = (was != NODATA) & (now != NODATA)
    expected = np.select([(was == 3) & (now == 3), now == 3, was == 3], [1, 2, 3], 4)
    expected = np.where(valid, expected, NODATA)
    mask = read(tmp_path / "out" / "mask.tif")
    assert (mask == expected).all()
    assert len(np.unique(mask)) == 5
    frame = gpd.read_file(tmp_path / "out" / "features.gpkg", layer="features")
    assert {"score", "score_min"} <= set(frame.columns)
    assert "confidence" not in frame.columns
    for row in results.classes:
        assert (
            row.pixels == (mask == row.value).sum() == frame[frame.class_id == row.value].n_px.sum()
        )


def test_windows_leave_no_seam_though_the_second_date_lies_on_another_grid(pair, two, tmp_path):
    after = off_grid(tmp_path / "after.tif")
    for out, window in (("one", 512), ("many", 64)):
        asked = flooding(window=window, formats=("none",), score=True)
        flood(pair[0], after, tmp_path / out, two, asked)
    one, many = (read(tmp_path / out / "mask.tif") for out in ("one", "many"))
    assert (one != NODATA).mean() > 0.5
    assert len(np.unique(one)) > 3
    assert (one == many).mean() > 0.9995
    scores = [read(tmp_path / out / "score.tif").astype(int) for out in ("one", "many")]
    assert np.abs(scores[0] - scores[1])[one == many].max() <= 1


def test_the_second_date_is_read_on_the_grid_of_the_first(pair, two, tmp_path):
    flood(pair[0], off_grid(tmp_path / "a.tif"), tmp_path / "out", two, flooding())
    with rasterio.open(pair[0]) as scene, rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        assert (mask.transform, mask.crs, mask.shape) == (scene.transform, scene.crs, scene.shape)


def test_a_stopped_job_resumes_to_the_same_bytes(pair, two, tmp_path):
    gpd.GeoDataFrame({"name": ["all"]}, geometry=[whole()], crs=32633).to_file(
        tmp_path / "zones.gpkg"
    )
    asked = flooding(zones=str(tmp_path / "zones.gpkg"), score=True)
    flood(*pair, tmp_path / "whole", two, asked)

    class Stops(StopsAfter):
        def start(self, what, pixels, done):
            self.done_before = done if what == "comparing" else self.done_before

    with pytest.raises(GeounetError, match="--resume to go on"):
        flood(*pair, tmp_path / "out", two, asked, StopsAfter(4, signal.SIGINT))
    again = Stops(-1, signal.SIGINT)
    flood(*pair, tmp_path / "out", two, asked.model_copy(update={"resume": True}), again)
    assert again.done_before > 0
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    before = outputs(tmp_path / "out")
    flood(*pair, tmp_path / "out", two, asked.model_copy(update={"resume": True}))
    assert outputs(tmp_path / "out") == before


def test_resume_refuses_another_model_threshold_or_date(pair, two, tmp_path):
    with pytest.raises(GeounetError):
        flood(*pair, tmp_path / "out", two, flooding(), StopsAfter(2, signal.SIGINT))
    go_on = {"resume": True}
    other = model_of_two(tmp_path / "other.safetensors", seed=6)
    with pytest.raises(SettingsError, match="cannot resume, model was"):
        flood(*pair, tmp_path / "out", other, flooding(**go_on))
    with pytest.raises(SettingsError, match="cannot resume, rule was"):
        flood(*pair, tmp_path / "out", two, flooding(threshold=0.6, **go_on))
    again = make_scene(tmp_path / "d1.tif", SHAPE, seed=3)
    with pytest.raises(SettingsError, match="cannot resume, dates was"):
        flood(pair[0], again, tmp_path / "out", two, flooding(**go_on))


def whole():
    with_corner = GRIDS["north-up"][0]
    left, top = with_corner.c, with_corner.f
    return shapely.box(left - 50, top - 10 * SHAPE[0] - 50, left + 10 * SHAPE[1] + 50, top + 50)


def test_zones_sum_to_the_map_and_name_its_features(pair, two, tmp_path):
    left, bottom, right, top = whole().bounds
    halves = [shapely.box(left, bottom, 500_437, top), shapely.box(500_437, bottom, right, top)]
    names = ["West", "=cmd|'/c calc'!A1"]
    frame = gpd.GeoDataFrame({"name": names}, geometry=halves, crs=32633)
    frame.to_crs(4326).to_file(tmp_path / "zones.geojson")
    asked = flooding(zones=str(tmp_path / "zones.geojson"))
    results = flood(*pair, tmp_path / "out", two, asked)
    with (tmp_path / "out" / "zones.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["zone"] for row in rows] == ["West", "'=cmd|'/c calc'!A1"]
    for found in results.classes:
        column = f"{found.name.replace(' ', '_')}_ha"
        assert sum(float(row[column]) for row in rows) == pytest.approx(found.area_ha, rel=1e-6)
    for row in rows:
        new = float(row["newly_flooded_ha"])
        assert float(row["newly_flooded_share"]) == pytest.approx(new / float(row["mapped_ha"]))
        assert float(row["mapped_ha"]) <= float(row["on_scene_ha"])
    features = gpd.read_file(tmp_path / "out" / "features.gpkg", layer="features")
    assert set(features.zone) == set(names)
    told = report_of(tmp_path / "out")["zones"]
    assert told["of"] == "newly flooded"
    for row, line in zip(told["rows"], rows, strict=True):
        assert row["zone"] in names
        assert row["of_ha"] == pytest.approx(float(line["newly_flooded_ha"]))
        assert row["share"] == pytest.approx(float(line["newly_flooded_share"]))
    page = (tmp_path / "out" / "report.html").read_text()
    most = max(told["rows"], key=lambda row: row["of_ha"])
    first = page.split("Newly flooded by zone, the most first</p>")[1].split("<tbody>")[1]
    assert first.strip().startswith(f'<tr><th scope="row">{html.escape(most["zone"])}</th>')


def test_a_zone_is_as_large_as_it_is_whatever_the_area_of_interest_and_the_window(
    pair, two, tmp_path
):
    left, _, _, top = whole().bounds
    gpd.GeoDataFrame({"name": ["all"]}, geometry=[whole()], crs=32633).to_file(
        tmp_path / "zones.geojson"
    )
    corner = gpd.GeoDataFrame(geometry=[shapely.box(left, top - 300, left + 300, top)], crs=32633)
    corner.to_file(tmp_path / "aoi.geojson")
    asked = {"zones": str(tmp_path / "zones.geojson"), "formats": ("none",)}
    inside = {"aoi": str(tmp_path / "aoi.geojson")}
    sizes = {}
    for name, more in (("all", {}), ("small", inside), ("large", inside | {"window": 128})):
        flood(*pair, tmp_path / name, two, flooding(**(asked | more)))
        (row,) = report_of(tmp_path / name)["zones"]["rows"]
        sizes[name] = row["on_scene_ha"]
        assert (row["mapped_ha"] < 0.5 * row["on_scene_ha"]) == (name != "all")
    assert sizes["small"] == sizes["large"] == pytest.approx(sizes["all"])
    report, page = report_of(tmp_path / "small"), (tmp_path / "small/report.html").read_text()
    assert report["aoi"] == "aoi.geojson"
    assert "% of the scene, inside aoi.geojson" in page
    assert report["run"]["pixels_per_s"] * report["run"]["labelling_s"] < np.prod(SHAPE)


def test_only_an_ancillary_layer_makes_water_permanent(pair, two, tmp_path):
    plain = flood(*pair, tmp_path / "plain", two, flooding(formats=("none",)))
    assert not any("permanent" in row.name for row in plain.classes)
    lasting = np.zeros(SHAPE, np.uint8)
    lasting[:, :50] = 7
    lasting[:20, :50] = 99
    marks = str(layer(tmp_path / "lasting.tif", lasting, nodata=99))
    flood(*pair, tmp_path / "out", two, flooding(formats=("none",), permanent_water=marks))
    before, after = read(tmp_path / "plain" / "mask.tif"), read(tmp_path / "out" / "mask.tif")
    marked = (lasting == 7) & np.isin(before, (1, 2))
    assert marked.any()
    assert (after == np.where(marked, 5, before)).all()


def test_a_layer_that_covers_part_of_the_scene_is_told_of(pair, two, tmp_path):
    def notes(shape):
        marks = str(layer(tmp_path / f"{shape}.tif", np.ones(shape, np.uint8)))
        settings = flooding(permanent_water=marks)
        return prepare_change(pair, two, question(settings), settings).notes

    said = f"{tmp_path}/(20, 30).tif: covers only part of the scene; elsewhere it marks nothing"
    assert said in notes((20, 30))
    assert not any("covers only part" in note for note in notes(SHAPE))


def test_the_report_tells_the_water_that_a_mask_hid(pair, two, tmp_path):
    clouds = np.zeros(SHAPE, np.uint8)
    clouds[30:50, 20:60] = 1
    rule = f"{layer(tmp_path / 'clouds.tif', clouds)}:values=1"
    flood(*pair, tmp_path / "out", two, flooding(formats=("none",), mask_after=(rule,)))
    segment(pair[1], two, tmp_path / "bare", SegmentSettings(window=64, formats=("none",)))
    water = (read(tmp_path / "bare" / "mask.tif") == 3) & (clouds == 1)
    first, second = report_of(tmp_path / "out")["dates"]
    assert first["hidden_ha"] == 0
    assert second["hidden_ha"] == pytest.approx(8.0, rel=0.01)
    assert second["hidden_target_ha"] == pytest.approx(water.sum() / 100, rel=0.01)
    assert 0 < second["hidden_target_ha"] < second["hidden_ha"]
    assert (read(tmp_path / "out" / "mask.tif")[clouds == 1] == NODATA).all()


def test_one_mask_of_both_dates_hides_both(pair, two, tmp_path):
    clouds = np.zeros(SHAPE, np.uint8)
    clouds[30:50, 20:60] = 1
    rule = f"{layer(tmp_path / 'clouds.tif', clouds)}:values=1"
    flood(*pair, tmp_path / "out", two, flooding(formats=("none",), mask=(rule,)))
    hidden = [date["hidden_ha"] for date in report_of(tmp_path / "out")["dates"]]
    assert hidden[0] == hidden[1] > 0


def test_what_does_not_go_together_is_refused(pair, two, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match=r"--target: the model .* no class 'water'.*--model"):
        flood(*pair, out, two, flooding(target=("water",)))
    with pytest.raises(SettingsError, match="names every class"):
        flood(*pair, out, two, flooding(target=("class 0", "class 1")))
    with pytest.raises(InputError, match=r"is read for two dates.*give each date its own file"):
        flood(pair[0], pair[0], out, two, flooding())
    far = off_grid(tmp_path / "far.tif", corner=(1e6, 0))
    with pytest.raises(InputError, match="does not overlap d0; give scenes of the same place"):
        flood(pair[0], far, out, two, flooding())
    transform, crs = GRIDS["north-up"]
    bands = np.ones((2, *SHAPE), np.uint16)
    less = write(
        tmp_path / "less.tif", bands, transform=transform, crs=crs, descriptions=("blue", "red")
    )
    with pytest.raises(ModelError, match="less: has no band green"):
        flood(pair[0], less, out, two, flooding())
    transform = Affine(10, 0, 2e6, 0, -10, 4e6)
    elsewhere = str(
        write(tmp_path / "marks.tif", np.ones((1, *SHAPE), np.uint8), transform=transform, crs=crs)
    )
    with pytest.raises(InputError, match=r"marks\.tif: does not overlap the scene"):
        flood(*pair, out, two, flooding(permanent_water=elsewhere))
    with pytest.raises(InputError, match=r"d0\.tif: has 3 bands, and a layer that marks .* one"):
        flood(*pair, out, two, flooding(permanent_water=str(pair[0])))
    with pytest.raises(SettingsError, match="no class 'damp'"):
        flood(*pair, out, two, flooding(classes=("damp",)))
    assert not out.exists()


def test_dates_of_other_pixel_sizes_or_in_the_wrong_order_are_noted(pair, two, tmp_path):
    coarse = off_grid(tmp_path / "LE70220491999322EDC01.tif", 40, (20, 26), (0, 0))
    newer = tmp_path / "LE70220492002106EDC00.tif"
    newer.write_bytes(pair[0].read_bytes())
    notes = []

    class Notes(StopsAfter):
        def note(self, text):
            notes.append(text)

    flood(newer, coarse, tmp_path / "out", two, flooding(formats=("none",)), Notes(-1, 2))
    assert any("its pixels are 4 times those of" in note for note in notes)
    assert any("before LE70220492002106EDC00 of 2002-04-16" in note for note in notes)


def test_inside_the_area_of_interest_the_map_is_the_full_map(pair, two, tmp_path):
    area = gpd.GeoSeries([whole().centroid.buffer(250)], crs=32633)
    area.to_crs(4326).to_file(tmp_path / "aoi.geojson")
    asked = {"formats": ("none",), "score": True}
    flood(*pair, tmp_path / "full", two, flooding(**asked))
    flood(*pair, tmp_path / "part", two, flooding(**asked, aoi=str(tmp_path / "aoi.geojson")))
    for name in ("mask.tif", "score.tif"):
        full, part = read(tmp_path / "full" / name), read(tmp_path / "part" / name)
        inside = part != NODATA
        assert 0.1 < inside.mean() < 0.5
        assert (part[inside] == full[inside]).all()


@pytest.mark.slow
def test_processes_give_the_bytes_of_threads(pair, two, tmp_path):
    for out, workers in (("threads", 0), ("processes", 2)):
        flood(*pair, tmp_path / out, two, flooding(workers=workers, score=True))
    assert outputs(tmp_path / "threads") == outputs(tmp_path / "processes")
