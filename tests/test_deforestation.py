"""Loss and gain of forest over two dates or more, its alerts, and the shift between dates."""

from __future__ import annotations

import csv
import json
import re
import signal

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from geounet.pipelines.deforestation import deforestation, question
from rasterio.features import rasterize

from geounet.card import NODATA
from geounet.change_preparation import MOST_DATES
from geounet.csv_table import write_csv
from geounet.errors import GeounetError, InputError, OutputError, SettingsError
from geounet.loss_dates import loss_classes
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import read
from tests.made_dates import clearing, dates, model_of_two, off_grid
from tests.test_segment import StopsAfter, outputs


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return model_of_two(tmp_path_factory.mktemp("model") / "two.safetensors")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Scenes of three dates, two of which their names tell."""
    folder = tmp_path_factory.mktemp("dates")
    names = ("LE70220491999322EDC01", "LE70220492002106EDC00", "LE70220492003106EDC00")
    pairs = zip(dates(folder, 3), names, strict=True)
    return [path.rename(folder / f"{name}.tif") for path, name in pairs]


def test_losses_of_three_dates_are_those_of_three_segmentations(three, two, tmp_path):
    out = tmp_path / "out"
    results = deforestation(three, out, two, clearing())
    plain = SegmentSettings(window=64, formats=("none",))
    for scene in three:
        segment(scene, two, tmp_path / scene.stem, plain)
    maps = [read(tmp_path / scene.stem / "mask.tif") for scene in three]
    forest = [mask == 3 for mask in maps]
    known = np.logical_and.reduce([mask != NODATA for mask in maps])
    first, middle, last = forest
    expected = np.select([first & last, last, ~first, middle], [1, 2, 3, 12], 11)
    mask = read(out / "mask.tif")
    assert (mask[known] == expected[known]).all()
    assert {row.name for row in results.classes} >= {"loss by 2002-04-16", "loss by 2003-04-16"}
    since = read(out / "loss_date.tif")
    assert (since == np.select([mask == 11, mask == 12], [1, 2], NODATA)).all()


def test_alerts_are_the_features_of_the_losses(three, two, tmp_path):
    out = tmp_path / "out"
    results = deforestation(three, out, two, clearing(min_area="3px"))
    features = gpd.read_file(out / "features.gpkg", layer="features")
    alerts = gpd.read_file(out / "alerts.gpkg", layer="features")
    lost = features[features.class_id > 10]
    assert 3 < len(alerts) == len(lost) < len(features)
    assert alerts.geometry.geom_equals(lost.geometry.reset_index(drop=True)).all()
    assert alerts.area_ha.tolist() == lost.area_ha.tolist()
    assert alerts["id"].is_unique
    assert set(alerts.date) == {"2002-04-16", "2003-04-16"}
    assert (alerts["id"].str[:8] == alerts.date.str.replace("-", "")).all()
    assert alerts.score.between(0.25, 1).all()
    centres = alerts.geometry.centroid.to_crs(4326)
    assert np.allclose(centres.x, alerts.lon, atol=1e-6)
    assert np.allclose(centres.y, alerts.lat, atol=1e-6)
    with (out / "alerts.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == alerts["id"].tolist()
    assert [float(row["area_ha"]) for row in rows] == pytest.approx(alerts.area_ha.tolist())
    report = json.loads((out / "report.json").read_text())
    counted = {row.name: row.area_ha for row in results.classes}
    for name, hectares in report["features_ha"].items():
        assert hectares == pytest.approx(features[features["class"] == name].area_ha.sum())
        assert hectares <= counted[name]
    assert sum(report["features_ha"].values()) < sum(counted.values())


def test_alerts_have_the_score_of_their_pixels(three, two, tmp_path):
    out = tmp_path / "out"
    deforestation(three, out, two, clearing(score=True))
    alerts = gpd.read_file(out / "alerts.gpkg", layer="features")
    with rasterio.open(out / "score.tif") as file:
        score, largest = file.read(1), alerts.loc[alerts.area_ha.idxmax()]
        inside = rasterize([largest.geometry], out_shape=file.shape, transform=file.transform) > 0
    assert score[inside].mean() / 100 == pytest.approx(largest.score, abs=1e-6)


def test_alerts_of_scenes_without_a_date_have_its_number(three, two, tmp_path):
    undated = [tmp_path / f"d{k}.tif" for k in range(3)]
    for path, scene in zip(undated, three, strict=True):
        path.write_bytes(scene.read_bytes())
    deforestation(undated, tmp_path / "out", two, clearing())
    alerts = gpd.read_file(tmp_path / "out" / "alerts.gpkg", layer="features")
    assert set(alerts.date) == {"date 2", "date 3"}
    assert (alerts["id"].str.split("-").str[0] == alerts.date.str.replace(" ", "")).all()


def test_alerts_are_written_where_a_loss_is_among_the_classes_asked_for(three, two, tmp_path):
    asked = clearing(classes=("stable forest",))
    assert "alerts.csv" not in question(three[:2], asked).further
    assert "alerts.csv" in question(three[:2], clearing(classes=("loss",))).further


def test_a_map_without_a_loss_gives_empty_alerts(three, two, tmp_path):
    again = tmp_path / three[1].name
    again.write_bytes(three[0].read_bytes())
    deforestation([three[0], again], tmp_path / "out", two, clearing())
    assert len(gpd.read_file(tmp_path / "out" / "alerts.gpkg", layer="features")) == 0
    assert (tmp_path / "out" / "alerts.csv").read_text().count("\n") == 1
    (shift,) = json.loads((tmp_path / "out" / "report.json").read_text())["shifts"]
    assert (shift["known"], shift["rows"], shift["columns"]) == (True, 0, 0)


def test_a_stopped_job_of_three_dates_resumes_to_the_same_bytes(three, two, tmp_path):
    deforestation(three, tmp_path / "whole", two, clearing())
    with pytest.raises(GeounetError, match="--resume to go on"):
        deforestation(three, tmp_path / "out", two, clearing(), StopsAfter(4, signal.SIGTERM))
    deforestation(three, tmp_path / "out", two, clearing(resume=True))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_overwriting_leaves_no_file_of_the_job_before(three, two, tmp_path):
    deforestation(three, tmp_path / "out", two, clearing(score=True))
    with pytest.raises(OutputError, match="exists"):
        deforestation(three[:2], tmp_path / "out", two, clearing())
    asked = clearing(overwrite=True, formats=("none",))
    deforestation(three[:2], tmp_path / "out", two, asked)
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"mask.tif", "mask.tif.aux.xml", "mask.qml", "report.html", "report.json"}


def test_dates_that_do_not_go_together_are_refused(three, two, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"before LE70220492002106EDC00.*the oldest first"):
        deforestation([three[1], three[0]], out, two, clearing())
    with pytest.raises(
        SettingsError, match=f"1 scenes were given; a change needs 2 to {MOST_DATES}"
    ):
        deforestation(three[:1], out, two, clearing())
    with pytest.raises(SettingsError, match="--mask-after is of the second of two dates"):
        deforestation(three, out, two, clearing(mask_after=("qa_pixel",)))
    assert not out.exists()


def test_a_shift_of_more_than_half_a_pixel_is_told(three, two, tmp_path):
    moved = tmp_path / three[1].name
    with rasterio.open(three[0]) as file:
        profile, bands, names = file.profile, file.read(), file.descriptions
    with rasterio.open(moved, "w", **profile) as file:
        file.write(np.roll(bands, (2, -1), (1, 2)))
        file.descriptions = names
    notes = []

    class Notes(StopsAfter):
        def note(self, text):
            notes.append(text)

    deforestation([three[0], moved], tmp_path / "out", two, clearing(), Notes(-1, 2))
    (told,) = [note for note in notes if "off the first scene" in note]
    rows, cols = (float(x) for x in re.findall(r"([+-]\d\.\d) (?:rows|columns)", told))
    # The scene is small and its noise smooth: there is little to tell a shift by.
    assert (rows, cols) == (pytest.approx(2, abs=0.3), pytest.approx(-1, abs=0.3))


def test_classes_of_losses_have_names_of_their_own():
    assert [c.name for c in loss_classes(10, ("2001-01-01", "2002-01-01"))] == ["loss"]
    named = loss_classes(10, (None, "2002-01-01", "2002-01-01", None, "2004-01-01"))
    assert [c.name for c in named] == [
        "loss by date 2", "loss by date 3", "loss by date 4", "loss by 2004-01-01",
    ]  # fmt: skip
    assert [c.value for c in named] == [11, 12, 13, 14]
    assert len({c.colour for c in named}) == 4


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "|calc", " =1", "%0"])
def test_no_text_of_a_table_is_run_by_a_spreadsheet(text, tmp_path):
    write_csv(tmp_path / "t.csv", ["zone", "ha"], [[text, -1.5], ["plain", float("nan")]])
    with (tmp_path / "t.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[1] == [f"'{text}", "-1.5"]
    assert rows[2] == ["plain", ""]


def test_a_table_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "t").write_text("mine")
    with pytest.raises(OutputError, match=r"t\.csv: cannot be written"):
        write_csv(tmp_path / "t" / "t.csv", ["a"], [])


def test_the_second_of_three_dates_may_lie_on_another_grid(three, two, tmp_path):
    other = off_grid(tmp_path / "LE70220492002106EDC00.tif")
    for out, window in (("one", 512), ("many", 64)):
        scenes = [three[0], other, three[2]]
        deforestation(scenes, tmp_path / out, two, clearing(window=window, formats=("none",)))
    one, many = (read(tmp_path / out / "mask.tif") for out in ("one", "many"))
    assert (one == many).mean() > 0.9995
    assert len(np.unique(one)) > 4
