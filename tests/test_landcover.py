"""Many scenes as one map: the grid, the rule where they overlap, no seams, what a job promises."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import rasterio
from affine import Affine
from geounet.pipelines.landcover import landcover
from rasterio.crs import CRS

from geounet import cli
from geounet.card import NODATA
from geounet.errors import InputError, InterruptedJobError, SettingsError
from geounet.grid import Grid
from geounet.mosaic import prepare_mosaic
from geounet.mosaic_grid import around
from geounet.mosaic_labelling import Chosen
from geounet.segmentation import segment
from geounet.settings import LandcoverSettings, SegmentSettings
from tests.jobs import GRIDS, UTM, make_model, make_scene, read, smooth
from tests.made_scenes import write
from tests.test_segment import StopsAfter, outputs

SHAPE = (96, 136)
PARTS = ((slice(0, 96), slice(0, 80)), (slice(16, 96), slice(48, 136)))
"""Two scenes that overlap; their corners lie on the stride of the network, 4."""


def settings(**fields) -> LandcoverSettings:
    return LandcoverSettings(**{"window": 64, "confidence": True, **fields})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A scene; two that overlap, whose pixels differ by their light; and those with no data around.

    The last are as large as both together: what a part looks like on the grid of the mosaic.
    """
    folder = tmp_path_factory.mktemp("scenes")
    bands = np.stack([smooth(SHAPE, seed) for seed in range(3)])
    bands[:, :7, :20] = 0
    transform, crs = GRIDS["north-up"]
    options = {"crs": crs, "nodata": 0, "descriptions": ("blue", "green", "red")}
    write(folder / "whole.tif", bands, transform=transform, **options)
    for number, (rows, cols) in enumerate(PARTS):
        part = np.where(bands == 0, 0, bands + 150 * number)[:, rows, cols]
        moved = transform @ Affine.translation(cols.start, rows.start)
        write(folder / f"part{number}.tif", part, transform=moved, **options)
        framed = np.zeros_like(bands)
        framed[:, rows, cols] = part
        write(folder / f"framed{number}.tif", framed, transform=transform, **options)
    return folder


@pytest.fixture(scope="module")
def alone(whole, model, tmp_path_factory):
    """Mask and confidence of each part by itself."""
    out = tmp_path_factory.mktemp("alone")
    options = SegmentSettings(window=64, confidence=True, formats=("none",))
    found = []
    for number in range(len(PARTS)):
        segment(whole / f"framed{number}.tif", model, out / str(number), options)
        layers = ("mask", "confidence")
        found.append({name: read(out / str(number) / f"{name}.tif") for name in layers})
    return found


def parts(whole):
    return [whole / "part0.tif", whole / "part1.tif"]


@pytest.mark.parametrize("overlap", ["confident", "first"])
def test_a_mosaic_is_what_the_rule_makes_of_each_scene_alone(
    whole, alone, model, tmp_path, overlap
):
    results = landcover(parts(whole), tmp_path / "out", model, settings(overlap=overlap))
    first, second = alone
    later = first["mask"] == NODATA
    if overlap == "confident":
        surer = second["confidence"] > first["confidence"]
        later |= surer & (second["mask"] != NODATA)
    expected = np.where(later, second["mask"], first["mask"])
    mask = read(tmp_path / "out" / "mask.tif")
    assert (mask == expected).all()
    confidence = read(tmp_path / "out" / "confidence.tif")
    sure = np.where(later, second["confidence"], first["confidence"])
    assert (confidence == sure).all()
    for row in results.classes:
        assert row.pixels == (mask == row.value).sum()
    both = (first["mask"] != NODATA) & (second["mask"] != NODATA)
    assert (first["mask"] != second["mask"])[both].any()


def test_a_mosaic_of_one_scene_is_its_map(whole, model, tmp_path):
    landcover([whole / "whole.tif"], tmp_path / "mosaic", model, settings())
    options = SegmentSettings(window=64, confidence=True)
    segment(whole / "whole.tif", model, tmp_path / "alone", options)
    for name in ("mask.tif", "confidence.tif", "features.gpkg"):
        one, other = (tmp_path / folder / name for folder in ("mosaic", "alone"))
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.slow
def test_windows_and_processes_leave_no_trace(whole, model, tmp_path):
    for name, fields in {"a": {}, "b": {"workers": 2}}.items():
        landcover(parts(whole), tmp_path / name, model, settings(**fields))
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    landcover(parts(whole), tmp_path / "c", model, settings(window=96))
    assert (read(tmp_path / "a" / "mask.tif") == read(tmp_path / "c" / "mask.tif")).all()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_mosaic_resumes_to_the_same_bytes(whole, model, tmp_path, name, code):
    landcover(parts(whole), tmp_path / "whole", model, settings())
    reporter = StopsAfter(2, getattr(signal, name))
    with pytest.raises(InterruptedJobError, match="--resume") as stopped:
        landcover(parts(whole), tmp_path / "out", model, settings(), reporter)
    assert stopped.value.exit_code == code
    other = settings(resume=True, overlap="first")
    with pytest.raises(SettingsError, match="overlap"):
        landcover(parts(whole), tmp_path / "out", model, other)
    landcover(parts(whole), tmp_path / "out", model, settings(resume=True))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_scenes_of_another_crs_are_laid_on_the_grid_of_the_first(whole, model, tmp_path):
    bands = np.stack([smooth((60, 70), seed) for seed in (5, 6, 7)])
    left, top = 13.0156, 51.4427
    write(
        tmp_path / "lonlat.tif",
        bands,
        transform=Affine(1.4e-4, 0, left, 0, -1e-4, top),
        crs=CRS.from_epsg(4326),
        nodata=0,
        descriptions=("blue", "green", "red"),
    )
    scenes = [whole / "whole.tif", tmp_path / "lonlat.tif"]
    landcover(scenes, tmp_path / "out", model, settings())
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:
        mask = file.read(1)
        assert file.crs == UTM
        spots = rasterio.warp.transform(
            CRS.from_epsg(4326), UTM, [left + 7e-3 * k / 10 for k in range(1, 10)], [top - 3e-3] * 9
        )
        found = [mask[file.index(x, y)] for x, y in zip(*spots, strict=True)]
    assert mask.shape[0] > SHAPE[0] or mask.shape[1] > SHAPE[1]
    assert NODATA not in found


def test_the_common_grid_holds_every_scene_in_whole_pixels_of_the_first():
    grid = Grid((10, 20), Affine(10, 0, 100, 0, -10, 900), UTM)
    moved = Grid((4, 4), Affine(10, 0, 60, 0, -10, 950), UTM)
    half = Grid((3, 3), Affine(10, 0, 305, 0, -10, 805), UTM)
    found, extents = around([grid, moved, half], ["a", "b", "c"])
    assert found.shape == (18, 28)
    assert found.transform.almost_equals(Affine(10, 0, 60, 0, -10, 950))
    assert extents[0] == (slice(5, 15), slice(4, 24))
    assert extents[1] == (slice(0, 4), slice(0, 4))
    assert extents[2] == (slice(14, 18), slice(24, 28))
    pole = Grid((4, 4), Affine(1, 0, 10, 0, -1, 95), CRS.from_epsg(4326))
    web = Grid((4, 4), Affine(10, 0, 0, 0, -10, 0), CRS.from_epsg(3857))
    with pytest.raises(InputError, match="far: has no place in the CRS of the first scene"):
        around([web, pole], ["a", "far"])


def test_what_cannot_change_a_pixel_is_not_mapped():
    seen = np.ones((2, 2), bool)
    layers = {"mask": np.zeros((2, 2), np.uint8), "confidence": np.full((2, 2), 100, np.uint8)}
    for overlap in ("confident", "first"):
        chosen = Chosen((2, 2), overlap)
        assert chosen.may_take(seen)
        assert not chosen.may_take(~seen)
        chosen.add(layers)
        assert not chosen.may_take(seen)
    unsure = Chosen((2, 2), "confident")
    unsure.add({**layers, "confidence": np.full((2, 2), 99, np.uint8)})
    assert unsure.may_take(seen)
    sure = Chosen((2, 2), "first")
    sure.add({**layers, "confidence": np.full((2, 2), 60, np.uint8)})
    assert not sure.may_take(seen)


def test_the_command_writes_one_map_and_says_what_is_wrong(whole, model, tmp_path, capsys):
    given = [str(path) for path in parts(whole)]
    flags = ["--model", str(model), "--window", "64"]
    assert cli.run(["landcover", *given, str(tmp_path / "out"), *flags]) == 0
    printed = capsys.readouterr().out
    assert "class 0" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [scene["name"] for scene in report["scenes"]] == ["part0", "part1"]
    assert report["overlap"] == "confident"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "part0; part1" in page
    assert cli.run(["landcover", given[0], *flags]) == 2
    assert "inputs first, the output last" in capsys.readouterr().err
    assert cli.run(["landcover", *given, str(tmp_path / "none"), *flags, "--overlap", "x"]) == 2
    config = tmp_path / "c.yaml"
    config.write_text("overlap: first\nformat: [none]\n")
    out = tmp_path / "configured"
    assert cli.run(["landcover", *given, str(out), *flags, "--config", str(config)]) == 0
    assert json.loads((out / "report.json").read_text())["overlap"] == "first"


def test_a_scene_that_does_not_open_leaves_nothing(whole, model, tmp_path):
    with pytest.raises(InputError, match=r"none\.tif"):
        landcover([whole / "part0.tif", tmp_path / "none.tif"], tmp_path / "out", model, settings())
    assert not (tmp_path / "out").exists()


def test_overlapping_tiles_of_a_scene_made_twice_change_nothing(model, tmp_path):
    scene = make_scene(tmp_path / "a.tif", shape=(70, 90))
    landcover([scene, scene], tmp_path / "twice", model, settings(formats=("none",)))
    landcover([scene], tmp_path / "once", model, settings(formats=("none",)))
    assert (read(tmp_path / "twice" / "mask.tif") == read(tmp_path / "once" / "mask.tif")).all()


def test_far_scenes_cost_nothing_in_between(model, tmp_path):
    transform, crs = GRIDS["north-up"]
    near = make_scene(tmp_path / "near.tif", shape=(70, 90))
    bands = np.stack([smooth((40, 48), seed) for seed in range(3)])
    away = transform @ Affine.translation(40_000, 20_000)
    names = ("blue", "green", "red")
    write(tmp_path / "far.tif", bands, transform=away, crs=crs, nodata=0, descriptions=names)
    prepared = prepare_mosaic([near, tmp_path / "far.tif"], model, settings(window=512))
    assert prepared.grid.shape == (20_040, 40_048)
    assert 2 <= len(prepared.plan.tiles) < 10
    assert prepared.plan.computed_share < 0.01
