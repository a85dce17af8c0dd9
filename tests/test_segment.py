"""Whole jobs: what they write, that they are seamless, and that nothing done is lost."""

from __future__ import annotations

import json
import re
from typing import get_args

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

from geounet.card import NODATA
from geounet.errors import GeounetError, InputError, ModelError, OutputError, SettingsError
from geounet.grid import Plan
from geounet.job import open_job
from geounet.labelling import label_tile
from geounet.preparation import prepare
from geounet.scene import Pixels, open_scene
from geounet.segmentation import segment, segment_all
from geounet.settings import SegmentSettings
from geounet.store import Journal, TileStore
from geounet.vector_settings import VectorFormat
from tests.jobs import GRIDS, make_mixed_scene, make_model, make_scene, read
from tests.listener import Listener
from tests.made_scenes import write

SMALL = {"window": 64}


def run(scene, model, out, **settings):
    return segment(scene, model, out, SegmentSettings(**{**SMALL, **settings}))


@pytest.mark.parametrize("grid", GRIDS)
def test_the_masks_grid_is_the_scenes_and_its_polygons_rasterised_are_the_mask(
    grid, model, tmp_path
):
    scene = make_scene(tmp_path / "scene.tif", (61, 83), grid)
    results = run(scene, model, tmp_path / "out", formats=("gpkg",))
    with rasterio.open(scene) as source, rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        assert (mask.crs, mask.transform, mask.shape) == (source.crs, source.transform, (61, 83))
        labels, valid = mask.read(1), source.dataset_mask() > 0
        frame = gpd.read_file(tmp_path / "out" / "features.gpkg", layer="features")
        back = rasterize(
            zip(frame.geometry, frame.class_id, strict=True),
            out_shape=mask.shape,
            transform=mask.transform,
            fill=NODATA,
            dtype="uint8",
        )
    assert ((labels != NODATA) == valid).all()
    assert len(np.unique(labels)) > 2
    assert (back == labels).all()
    assert frame.geometry.is_valid.all()
    for row in results.classes:
        features = frame[frame.class_id == row.value]
        assert features.n_px.sum() == row.pixels == (labels == row.value).sum()
        assert features.area_ha.sum() == pytest.approx(row.area_ha, rel=1e-9)
    assert frame.confidence.between(0.3, 1).all()


@pytest.mark.parametrize("reprojected", [False, True])
def test_windows_leave_no_seam_on_scenes_of_mixed_resolution(reprojected, model, tmp_path):
    scene = make_mixed_scene(tmp_path / "scene", reprojected=reprojected)
    wanted = {"formats": ("none",), "probabilities": True}
    run(scene, model, tmp_path / "one", window=512, **wanted)
    run(scene, model, tmp_path / "many", window=64, **wanted)
    one, many = (read(tmp_path / out / "mask.tif") for out in ("one", "many"))
    with rasterio.open(tmp_path / "one" / "probabilities.tif") as file:
        top = np.sort(file.read(), axis=0)
    decided = top[-1].astype(int) - top[-2] > 1
    assert (one != NODATA).mean() > 0.5
    assert len(np.unique(one)) > 2
    assert (one == many)[decided].all()
    assert (one == many).mean() > 0.999


def test_inside_the_area_of_interest_the_map_is_the_full_map(scene, model, tmp_path):
    run(scene, model, tmp_path / "full", formats=("none",))
    with rasterio.open(scene) as file:
        corner, crs = file.transform @ (40, 30), file.crs
    area = gpd.GeoSeries([shapely.Point(corner).buffer(250)], crs=crs)
    area.to_crs(4326).to_file(tmp_path / "aoi.geojson")
    run(scene, model, tmp_path / "part", formats=("none",), aoi=str(tmp_path / "aoi.geojson"))
    full, part = read(tmp_path / "full" / "mask.tif"), read(tmp_path / "part" / "mask.tif")
    inside = part != NODATA
    assert 0.02 < inside.mean() < 0.5
    assert (part[inside] == full[inside]).all()
    report = json.loads((tmp_path / "part" / "report.json").read_text())
    done, planned = report["plan"]["tiles"].split(" of ")
    assert 0 < int(done) < int(planned)


def test_an_area_of_interest_off_the_scene_is_refused(scene, model, tmp_path):
    gpd.GeoSeries([shapely.box(1, 1, 2, 2)], crs=4326).to_file(tmp_path / "aoi.geojson")
    with pytest.raises(InputError, match="no polygon of the area of interest lies on the scene"):
        run(scene, model, tmp_path / "out", aoi=str(tmp_path / "aoi.geojson"))
    with pytest.raises(InputError, match="cannot be read"):
        run(scene, model, tmp_path / "out", aoi=str(tmp_path / "none.geojson"))


def test_tiles_without_a_valid_pixel_are_never_computed():
    tile = Plan((40, 40), 64, 24, 4).tiles[0]
    pixels = Pixels(np.zeros((40, 40, 3), np.uint16), np.zeros((40, 40), bool), None)

    def forward(bands, valid):
        return {"mask": np.full(valid.shape, 7, np.uint8)}

    assert (label_tile(pixels, tile, pixels.valid, forward)["mask"] == NODATA).all()


def test_a_map_is_written_in_every_format(model, tmp_path):
    scene, formats = make_scene(tmp_path / "scene.tif", (61, 83)), get_args(VectorFormat)
    results = run(scene, model, tmp_path / "out", formats=formats)
    assert {f"features.{name}" for name in formats} <= {file.name for file in results.files}
    for name in ("gpkg", "geojson", "geojsonl", "shp", "shp.zip", "fgb"):
        frame = gpd.read_file(tmp_path / "out" / f"features.{name}", layer=0)
        assert len(frame) == results.features, name
    assert len(gpd.read_parquet(tmp_path / "out" / "features.parquet")) == results.features
    left = outputs(tmp_path / "out")
    run(scene, model, tmp_path / "out", formats=("gpkg",), overwrite=True)
    gone = left.keys() - outputs(tmp_path / "out").keys()
    assert {"features.parquet", "features.shp", "features.pmtiles", "features.shp.zip"} <= gone


def test_a_scene_without_a_valid_pixel_gives_a_valid_empty_map(model, tmp_path):
    bands = np.zeros((3, 70, 90), np.uint16)
    transform, crs = GRIDS["north-up"]
    names = ("blue", "green", "red")
    write(tmp_path / "s.tif", bands, transform=transform, crs=crs, nodata=0, descriptions=names)
    results = run(tmp_path / "s.tif", model, tmp_path / "out", formats=("gpkg", "shp"))
    assert (read(tmp_path / "out" / "mask.tif") == NODATA).all()
    assert results.features == 0
    assert results.nodata_pixels == 70 * 90
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["empty_tiles"] == len(Plan((70, 90), 64, 24, 4).tiles)


def outputs(folder):
    """The bytes of every output; of the reports, all but what they say of time."""
    found = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}
    report = json.loads(found.pop("report.json"))
    page, times = re.subn(rb"[\d.,]+ (s|km\xc2\xb2/s|pixels/s)\b", b"", found.pop("report.html"))
    assert times == 8
    report.pop("run")
    return {**found, "report.json": report, "report.html": page}


@pytest.mark.slow
def test_the_same_job_gives_the_same_bytes_in_processes_and_in_threads(scene, model, tmp_path):
    wanted = {"formats": ("gpkg", "geojson", "shp"), "confidence": True, "probabilities": True}
    for out, workers in (("a", 0), ("b", 0), ("c", 2)):
        run(scene, model, tmp_path / out, workers=workers, **wanted)
    first = outputs(tmp_path / "a")
    assert {"mask.tif", "confidence.tif", "probabilities.tif", "features.shp"} <= first.keys()
    assert first == outputs(tmp_path / "b") == outputs(tmp_path / "c")
    assert not (tmp_path / "a" / ".geounet").exists()


@pytest.mark.parametrize(
    "changed", [{"smooth": 2}, {"split": True}, {"fill_holes": "9px"}, {"simplify_outline": True}]
)
def test_a_finished_job_is_not_called_finished_for_other_polygons(scene, model, tmp_path, changed):
    run(scene, model, tmp_path / "out")
    with pytest.raises(SettingsError, match=f"polygons.{next(iter(changed))}"):
        run(scene, model, tmp_path / "out", resume=True, **changed)


def test_a_finished_job_is_not_called_finished_for_other_zones(scene, model, tmp_path):
    zones = tmp_path / "zones.gpkg"
    area = gpd.GeoDataFrame(
        {"name": ["a"]}, geometry=[shapely.box(400_000, 5_600_000, 600_000, 5_800_000)], crs=32633
    )
    area.to_file(zones)
    run(scene, model, tmp_path / "out", zones=str(zones))
    area.assign(name="b").to_file(zones)
    with pytest.raises(SettingsError, match="zones"):
        run(scene, model, tmp_path / "out", resume=True, zones=str(zones))


class StopsAfter:
    """A reporter that asks the job to stop after some tiles, as Ctrl-C does."""

    def __init__(self, tiles, number):
        self.left, self.number = tiles, number

    def note(self, text): ...

    def start(self, what, pixels, done):
        if what == "segmenting":
            self.done_before = done

    def advance(self, pixels):
        import signal

        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)

    def finish(self): ...


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_job_keeps_its_tiles_and_resumes_to_the_same_bytes(
    name, code, scene, model, tmp_path
):
    import signal

    settings = SegmentSettings(**SMALL, formats=("gpkg",))
    segment(scene, model, tmp_path / "whole", settings)
    with pytest.raises(GeounetError, match="--resume to go on") as stopped:
        segment(scene, model, tmp_path / "out", settings, StopsAfter(4, getattr(signal, name)))
    assert stopped.value.exit_code == code
    assert not (tmp_path / "out" / "mask.tif").exists()
    with pytest.raises(OutputError, match="unfinished job; go on with --resume"):
        segment(scene, model, tmp_path / "out", settings)
    reporter = StopsAfter(-1, signal.SIGINT)
    segment(scene, model, tmp_path / "out", settings.model_copy(update={"resume": True}), reporter)
    assert reporter.done_before > 0
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def unfinished(scene, model, out, **settings):
    """A job that was stopped after its first tiles."""
    import signal

    with pytest.raises(GeounetError):
        segment(
            scene,
            model,
            out,
            SegmentSettings(**{**SMALL, **settings}),
            StopsAfter(2, signal.SIGINT),
        )


def test_resume_refuses_a_changed_job_and_names_what_changed(scene, model, tmp_path):
    unfinished(scene, model, tmp_path / "out")
    with pytest.raises(SettingsError, match="window was 64 and is now 128"):
        run(scene, model, tmp_path / "out", resume=True, window=128)
    with pytest.raises(SettingsError, match="precision was f32 and is now bf16"):
        run(scene, model, tmp_path / "out", resume=True, precision="bf16")
    other = make_model(tmp_path / "other.safetensors", name="other")
    with pytest.raises(SettingsError, match="model was"):
        run(scene, other, tmp_path / "out", resume=True)
    changed = make_scene(tmp_path / "scene.tif", seed=9)
    with pytest.raises(SettingsError, match=r"cannot resume, scene\."):
        run(changed, model, tmp_path / "out", resume=True)


def test_resume_does_damaged_and_torn_tiles_again(scene, model, tmp_path):
    run(scene, model, tmp_path / "whole")
    unfinished(scene, model, tmp_path / "out")
    work = tmp_path / "out" / ".geounet"
    damaged = sorted((work / "tiles").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with (work / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"tile": "r0000')
    told = Listener()
    settings = SegmentSettings(**SMALL, resume=True)
    segment(scene, model, tmp_path / "out", settings, told)
    assert any(re.search("1 of [0-9]+ finished tiles are gone from", note) for note in told.notes)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_resume_keeps_the_window_that_was_chosen_on_the_first_run(scene, model, tmp_path):
    unfinished(scene, model, tmp_path / "out", window=96)
    run(scene, model, tmp_path / "out", resume=True, window=None)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fingerprint"]["window"] == 96


def test_resuming_a_finished_job_changes_nothing(scene, model, tmp_path):
    first = run(scene, model, tmp_path / "out")
    before = outputs(tmp_path / "out")
    again = run(scene, model, tmp_path / "out", resume=True)
    assert again.classes == first.classes
    assert outputs(tmp_path / "out") == before
    assert not (tmp_path / "out" / ".geounet").exists()


def test_a_job_that_is_refused_leaves_nothing_behind(scene, model, tmp_path):
    run(scene, model, tmp_path / "out")
    before = outputs(tmp_path / "out")
    with pytest.raises(OutputError, match="exists"):
        run(scene, model, tmp_path / "out")
    assert outputs(tmp_path / "out") == before
    assert not (tmp_path / "out" / ".geounet").exists()


def test_nothing_is_overwritten_unless_asked(scene, model, tmp_path):
    run(scene, model, tmp_path / "out")
    with pytest.raises(OutputError, match=r"mask\.tif: exists"):
        run(scene, model, tmp_path / "out")
    run(scene, model, tmp_path / "out", overwrite=True)


def test_one_job_at_a_time_in_a_folder(scene, model, tmp_path):
    with (
        open_job(tmp_path / "out", ()),
        pytest.raises(OutputError, match=r"locked by pid \d+ on .* since"),
    ):
        run(scene, model, tmp_path / "out")


def test_an_output_that_is_a_file_is_refused_before_any_work(scene, model, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="not a folder that can be written"):
        run(scene, model, tmp_path / "out")


def test_several_scenes_go_into_folders_and_one_failure_does_not_stop_the_rest(
    scene, model, tmp_path
):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 this is no GeoTIFF")
    again = make_scene(tmp_path / "other" / scene.name)
    settings = SegmentSettings(**SMALL, formats=("none",))
    scenes = [broken, scene, again]
    outcomes = dict(segment_all(scenes, model, tmp_path / "out", settings))
    assert isinstance(outcomes[str(broken)], InputError)
    assert outcomes[str(scene)].files[0] == tmp_path / "out" / "scene" / "mask.tif"
    assert "is called scene" in str(outcomes[str(again)])


def test_a_scene_without_the_models_bands_is_refused_with_both_lists(model, tmp_path):
    transform, crs = GRIDS["north-up"]
    names = ("green", "nir")
    bands = np.ones((2, 20, 20), np.uint16)
    write(tmp_path / "s.tif", bands, transform=transform, crs=crs, descriptions=names)
    with pytest.raises(ModelError, match=r"blue.*red.*green.*nir"):
        run(tmp_path / "s.tif", model, tmp_path / "out")


def test_strict_refuses_where_a_note_would_warn(scene, tmp_path):
    coarse = make_model(tmp_path / "coarse.safetensors", pixel_size=(250, 1000))
    assert "trained for 250 to 1000 m" in prepare(scene, coarse, SegmentSettings()).fit.notes[0]
    with pytest.raises(ModelError, match=r"trained for 250 to 1000 m.*refused by --strict"):
        run(scene, coarse, tmp_path / "out", strict=True)


def test_a_window_that_does_not_fit_the_model_is_refused_with_the_rule(scene, model):
    with pytest.raises(SettingsError, match="multiple of 4 above 48"):
        prepare(scene, model, SegmentSettings(window=50))


def test_a_class_that_the_model_does_not_have_is_refused(scene, model):
    with pytest.raises(SettingsError, match="water"):
        prepare(scene, model, SegmentSettings(classes=("water",)))


def test_a_stored_tile_is_returned_whole_or_not_at_all(tmp_path):
    store = TileStore(tmp_path)
    layers = {"mask": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    digest = store.put("t", layers)
    from geounet.store import TileRecord

    record = TileRecord("t", digest)
    assert (store.get(record)["mask"] == layers["mask"]).all()
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not store.holds(record)
    with pytest.raises(OutputError, match="damaged"):
        store.get(record)
    path.unlink()
    assert not store.holds(record)
    with pytest.raises(OutputError, match="is gone"):
        store.get(record)


def test_a_journal_without_its_first_line_is_no_journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert Journal(path).read() == (None, {})
    path.write_bytes(b'{"finger')
    assert Journal(path).read() == (None, {})


def test_the_scene_is_opened_without_reading_a_pixel(scene):
    assert open_scene(scene).grid.shape == (86, 101)
