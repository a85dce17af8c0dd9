"""Class rasters of any making become features in any format."""

from __future__ import annotations

import signal
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from geounet import vector_formats
from geounet.card import LandClass
from geounet.class_raster import MOST_CLASSES
from geounet.cog import CogStyle, write_cog
from geounet.errors import InputError, InterruptedJobError, OutputError, SettingsError
from geounet.grid import Grid
from geounet.vector_settings import VectorSettings
from geounet.vectorization import chosen_values, vectorize

GRID = Grid((31, 23), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))
CLASSES = (
    LandClass(value=0, name="land", colour="#996633"),
    LandClass(value=3, name="wäter & <reed>", colour="#3366cc"),
)


def labels_of(values=(0, 3, 255)) -> np.ndarray:
    coarse = np.random.default_rng(2).choice(np.array(values), (8, 6))
    return np.repeat(np.repeat(coarse, 4, 0), 4, 1)[:31, :23]


def write(path: Path, values: np.ndarray, **profile) -> Path:
    bands = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=31,
        width=23,
        count=len(bands),
        dtype=bands.dtype,
        crs=GRID.crs,
        transform=GRID.transform,
        **profile,
    ) as data:
        data.write(bands)
    return path


def read(path: Path):
    return pyogrio.read_dataframe(path, layer="features")


def test_a_mask_of_ours_becomes_features_with_its_own_names_and_colours(tmp_path):
    labels, mask = labels_of().astype(np.uint8), tmp_path / "mask.tif"
    write_cog(mask, GRID, [(GRID.whole, labels)], CogStyle(CLASSES))
    count = vectorize(mask, tmp_path / "features.gpkg")
    found = read(tmp_path / "features.gpkg")
    assert len(found) == count
    assert set(zip(found["class_id"], found["class"], strict=True)) == {
        (c.value, c.name) for c in CLASSES
    }
    assert found["n_px"].sum() == (labels != 255).sum()
    assert 'value="51,102,204,178"' in (tmp_path / "features.qml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("dtype", "values", "nodata"),
    [
        ("uint8", (0, 1, 254), None),
        ("int16", (-5, 1, 300), -5),
        ("uint16", (255, 523, 65535), 65535),
        ("int32", (0, 255, 2_000_000), 0),
        ("float32", (0, 2, -99999), -99999),
        ("float64", (1, 2, np.nan), np.nan),
    ],
)
def test_every_kind_of_whole_numbers_is_read(tmp_path, dtype, values, nodata):
    labels = labels_of(values).astype(dtype)
    mask = write(tmp_path / "classes.tif", labels, nodata=nodata)
    vectorize(mask, tmp_path / "features.gpkg")
    found = read(tmp_path / "features.gpkg")
    for value in values:
        expected = 0 if value == nodata or value != value else int((labels == value).sum())
        assert found["n_px"][found["class_id"] == value].sum() == expected
    assert found["n_px"].sum() == sum((labels == v).sum() for v in values if v != nodata)


def test_classes_are_chosen_by_name_and_by_value(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    for asked in ("wäter & <reed>", "3"):
        settings = VectorSettings(classes=(asked,), overwrite=True)
        vectorize(mask, tmp_path / "features.gpkg", settings, CLASSES)
        assert set(read(tmp_path / "features.gpkg")["class_id"]) == {3}
    with pytest.raises(SettingsError, match=r"no class 'snow'; choose from land \(0\), wäter"):
        vectorize(mask, tmp_path / "a.gpkg", VectorSettings(classes=("snow",)), CLASSES)


def test_sizes_and_formats_are_as_asked(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    settings = VectorSettings(min_area="0.2ha", simplify="10m", formats=("shp", "geojson"))
    count = vectorize(mask, tmp_path / "features.shp", settings)
    assert len(read(tmp_path / "features.shp")) == len(read(tmp_path / "features.geojson")) == count
    assert read(tmp_path / "features.shp")["area_ha"].min() >= 0.2
    with pytest.raises(OutputError, match=r"features\.shp: exists"):
        vectorize(mask, tmp_path / "features.shp", settings)


def test_a_raster_of_nothing_gives_an_empty_file(tmp_path):
    mask = write(tmp_path / "mask.tif", np.full((31, 23), 255, np.uint8), nodata=255)
    assert vectorize(mask, tmp_path / "features.gpkg") == 0
    assert len(read(tmp_path / "features.gpkg")) == 0


def test_what_holds_no_classes_is_refused(tmp_path):
    out = tmp_path / "features.gpkg"
    two = write(tmp_path / "two.tif", np.zeros((2, 31, 23), np.uint8))
    with pytest.raises(InputError, match="has 2 bands, and a class raster has one"):
        vectorize(two, out)
    ramp = np.arange(31 * 23, dtype=np.float32).reshape(31, 23)
    with pytest.raises(InputError, match="holds fractions, and a class raster holds whole numbers"):
        vectorize(write(tmp_path / "half.tif", ramp / 2), out)
    with pytest.raises(InputError, match="holds values outside -2147483646 to 2147483647"):
        vectorize(write(tmp_path / "large.tif", ramp.astype(np.float64) * 1e9), out)
    assert list(tmp_path.glob("features*")) == []


def test_measurements_are_told_from_classes_by_their_number(tmp_path):
    values = np.arange(50 * 23, dtype=np.int16).reshape(50, 23)
    path = tmp_path / "height.tif"
    grid = Grid((50, 23), GRID.transform, GRID.crs)
    with rasterio.open(
        path, "w", driver="GTiff", height=50, width=23, count=1, dtype="int16", crs=grid.crs,
        transform=grid.transform,
    ) as data:  # fmt: skip
        data.write(values, 1)
    with pytest.raises(InputError, match=f"has 1150 different values or more, and {MOST_CLASSES}"):
        vectorize(path, tmp_path / "features.gpkg")


def test_a_file_that_breaks_off_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 9, (31, 23)).astype(np.uint8)
    mask = write(tmp_path / "mask.tif", noise, compress="deflate")
    data = mask.read_bytes()
    mask.write_bytes(data[: len(data) - 60])
    message = r"rows 0 to 31, columns 0 to 23 cannot be read: .* is the file complete"
    with pytest.raises(InputError, match=message):
        vectorize(mask, tmp_path / "features.gpkg")


def test_zones_give_features_the_name_of_the_one_that_holds_most_of_them(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    x, y = GRID.transform @ (12, 0)
    halves = [
        shapely.box(x - 500, y - 500, x, y + 500),
        shapely.box(x, y - 500, x + 500, y + 500),
    ]
    zones = geopandas.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=GRID.crs)
    zones.to_file(tmp_path / "zones.gpkg")
    settings = VectorSettings(zones=str(tmp_path / "zones.gpkg"))
    vectorize(mask, tmp_path / "features.gpkg", settings)
    found = read(tmp_path / "features.gpkg")
    west = shapely.area(shapely.intersection(found.geometry.to_numpy(), halves[0]))
    most = np.where(west * 2 > shapely.area(found.geometry.to_numpy()), "west", "east")
    even = np.isclose(west * 2, shapely.area(found.geometry.to_numpy()))
    assert (found["zone"].to_numpy() == most)[~even].all()
    assert set(found["zone"]) == {"west", "east"}


def test_small_polygons_join_a_neighbour_in_the_file_too(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of((0, 1, 3)).astype(np.uint8))
    settings = VectorSettings(min_area="20px", absorb=True, simplify="1px", smooth=1)
    vectorize(mask, tmp_path / "features.gpkg", settings)
    found = read(tmp_path / "features.gpkg")
    assert found["n_px"].min() >= 20
    assert found["n_px"].sum() == 31 * 23
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    assert shapely.area(found.geometry.to_numpy()).sum() == pytest.approx(31 * 23 * 100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"absorb": True}, r"--absorb needs --min-area"),
        ({"zone_field": "name"}, r"--zone-field needs --zones"),
        ({"split": True, "min_area": "1ha"}, r"--min-area would drop small parts of large ones"),
    ],
)
def test_options_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VectorSettings(**settings)


class StopsDuring:
    """A reporter that asks the job to stop when a stage begins, or when the last one has ended."""

    def __init__(self, stage, number):
        self.stage, self.number = stage, number

    def note(self, text): ...

    def start(self, what, pixels, done):
        if what == self.stage:
            signal.raise_signal(self.number)

    def advance(self, pixels): ...

    def finish(self):
        if self.stage == "writing":
            signal.raise_signal(self.number)


@pytest.mark.parametrize("stage", ["tracing", "writing"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stop_leaves_traced_cells_alone_and_a_resume_goes_on(tmp_path, stage, name, code):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    reporter = StopsDuring(stage, getattr(signal, name))
    again = r"features\.gpkg: stopped .*; run the same command with --resume to go on$"
    with pytest.raises(InterruptedJobError, match=again) as stopped:
        vectorize(mask, tmp_path / "features.gpkg", reporter=reporter)
    assert stopped.value.exit_code == code
    left = [] if stage == "tracing" else [".features.geounet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*left, "mask.tif"]
    vectorize(mask, tmp_path / "features.gpkg", VectorSettings(resume=True))
    vectorize(mask, tmp_path / "whole" / "features.gpkg")
    whole = (tmp_path / "whole" / "features.gpkg").read_bytes()
    assert (tmp_path / "features.gpkg").read_bytes() == whole
    assert not list(tmp_path.glob(".*"))


def test_what_no_class_can_be_is_refused(tmp_path):
    large = np.full((31, 23), 2.0**31, np.float32)
    with pytest.raises(InputError, match=r"holds values outside"):
        vectorize(write(tmp_path / "large.tif", large), tmp_path / "a.gpkg")
    whirl = np.full((31, 23), 3 + 4j, np.complex64)
    with pytest.raises(InputError, match=r"complex64|data type"):
        vectorize(write(tmp_path / "whirl.tif", whirl), tmp_path / "a.gpkg")


def test_no_part_of_a_shapefile_and_no_style_is_replaced_unasked(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    (tmp_path / "f.dbf").write_text("mine")
    with pytest.raises(OutputError, match=r"f\.dbf: exists"):
        vectorize(mask, tmp_path / "f.shp")
    (tmp_path / "g.qml").write_text("mine")
    vectorize(mask, tmp_path / "g.gpkg")
    assert (tmp_path / "g.qml").read_text() == (tmp_path / "f.dbf").read_text() == "mine"


@pytest.mark.parametrize(
    "ending", ["gpkg", "geojson", "geojsonl", "shp", "shp.zip", "fgb", "parquet"]
)
def test_a_finished_file_is_counted_and_left_alone_by_a_resume(tmp_path, ending):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    out = tmp_path / f"features.{ending}"
    count = vectorize(mask, out)
    before = out.stat().st_mtime_ns
    assert vectorize(mask, out, VectorSettings(resume=True)) == count
    assert out.stat().st_mtime_ns == before


def test_a_link_that_leads_nowhere_is_there_too(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    (tmp_path / "features.gpkg").symlink_to("/nowhere/features.gpkg")
    with pytest.raises(OutputError, match=r"features\.gpkg: exists"):
        vectorize(mask, tmp_path / "features.gpkg")


@pytest.mark.parametrize("length", [240, 300])
def test_a_name_that_is_too_long_is_refused(tmp_path, length):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    with pytest.raises(OutputError, match="its name has more than 230 bytes"):
        vectorize(mask, tmp_path / f"{length * 'a'}.gpkg")


def test_temporary_folders_of_other_runs_are_left_alone(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    other = tmp_path / ".features.abcdefgh.part"
    other.mkdir()
    vectorize(mask, tmp_path / "features.gpkg")
    assert other.exists()


def test_a_name_with_a_line_break_is_refused(tmp_path):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    with pytest.raises(OutputError, match="character that file names should not"):
        vectorize(mask, tmp_path / "fea\ntures.gpkg")


def test_the_raster_itself_is_never_written_over(tmp_path):
    mask = write(tmp_path / "mask.json", labels_of().astype(np.uint8), nodata=255)
    with pytest.raises(OutputError, match=r"mask\.json: is the raster itself"):
        vectorize(mask, mask, VectorSettings(overwrite=True))


def test_a_number_is_a_value_and_a_name_may_be_that_of_several_classes():
    classes = [
        LandClass(value=1, name="2", colour="#000000"),
        LandClass(value=2, name="wet", colour="#000000"),
        LandClass(value=3, name="wet", colour="#000000"),
    ]
    assert chosen_values(("2",), classes) == (2,)
    assert chosen_values(("wet", "3"), classes) == (2, 3)


def test_an_error_names_the_raster_that_has_no_ellipsoid(tmp_path):
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    mask = tmp_path / "site.tif"
    profile = {"driver": "GTiff", "height": 31, "width": 23, "count": 1, "dtype": "uint8"}
    crs = CRS.from_wkt(local)
    with rasterio.open(mask, "w", **profile, crs=crs, transform=GRID.transform) as data:
        data.write(labels_of((0, 3)).astype(np.uint8), 1)
    with pytest.raises(InputError, match=r"site\.tif: no area can be measured"):
        vectorize(mask, tmp_path / "features.gpkg")


def test_a_failure_leaves_no_file_of_any_format_and_no_folder(tmp_path, monkeypatch):
    mask = write(tmp_path / "mask.tif", labels_of().astype(np.uint8), nodata=255)
    monkeypatch.setitem(vector_formats.refuse_large.__kwdefaults__, "limit", 1000)
    settings = VectorSettings(formats=("shp", "fgb"))
    with pytest.raises(OutputError, match=r"a shapefile holds"):
        vectorize(mask, tmp_path / "new" / "deep" / "features.gpkg", settings)
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == [".features.geounet"]
    other = VectorSettings(formats=("fgb",), resume=True)
    vectorize(mask, tmp_path / "new" / "deep" / "features.gpkg", other)
    names = {path.name for path in (tmp_path / "new" / "deep").iterdir()}
    assert names == {"features.gpkg", "features.fgb", "features.qml"}
