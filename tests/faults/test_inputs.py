"""Scenes that are broken, strange or out to do harm: what the command says, and what it leaves."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from geounet.card import NODATA
from geounet.cli import run as command
from geounet.errors import InputError
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.faults.zygote import ROOT
from tests.jobs import GRIDS, make_scene, read, smooth
from tests.listener import Listener
from tests.made_scenes import UTM33, north_up, write
from tests.test_segment import outputs, run

NAMES = ("blue", "green", "red")
BLOCKS = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def scene_of(path, shape=(150, 197), **profile):
    bands = np.stack([smooth(shape, k) for k in range(3)])
    about = {"transform": north_up(10), "crs": UTM33, "descriptions": NAMES, "nodata": 0}
    write(path, bands, **{**about, **profile})
    return path


def files_that_are_no_scene(folder):
    """A1: six of them, by name."""
    (folder / "folder.tif").mkdir()
    (folder / "empty.tif").write_bytes(b"")
    (folder / "page.tif").write_text("<!doctype html><title>404</title>")
    (folder / "noise.tif").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "header.tif").write_bytes(b"II*\0\x08\0\0\0")
    return ["missing.tif", "folder.tif", "empty.tif", "page.tif", "noise.tif", "header.tif"]


def test_what_is_no_scene_ends_with_3_and_the_others_of_a_batch_go_on(
    scene, model, tmp_path, capsys
):
    names = files_that_are_no_scene(tmp_path)
    for name in names:
        assert command(["inspect", str(tmp_path / name)]) == 3, name
        said = capsys.readouterr().err
        assert said.startswith("geounet: "), said
        assert said.count("\n") == 1, said
        assert name in said, said
    scenes = [str(tmp_path / "empty.tif"), str(scene), str(tmp_path / "page.tif")]
    tokens = ["segment", *scenes, str(tmp_path / "out"), "--model", str(model), "--format", "none"]
    assert command([*tokens, "--window", "64", "--quiet"]) == 4
    assert (tmp_path / "out" / "scene" / "mask.tif").exists()


@pytest.mark.parametrize(
    "layout",
    [
        {"blockysize": 16},
        {**BLOCKS, "compress": "deflate"},
        {**BLOCKS, "compress": "zstd", "predictor": 2},
        {"driver": "COG", "compress": "lzw"},
    ],
    ids=["strips", "deflate", "zstd", "COG"],
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_scene_leaves_no_map(layout, share, model, tmp_path):
    """A2: at open or at the tile that is gone; the tiles before it stay in the journal."""
    path = scene_of(tmp_path / "cut.tif", **layout)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(InputError, match=r"cut\.tif: "):
        run(path, model, tmp_path / "out", formats=("none",))
    assert not (tmp_path / "out" / "mask.tif").exists()


def test_blocks_that_were_never_written_are_no_data(model, tmp_path):
    """A4: a sparse GeoTIFF has no bytes for them; with a nodata value they hold it."""
    path = scene_of(tmp_path / "sparse.tif", SPARSE_OK="TRUE", **BLOCKS)
    bands = np.stack([smooth((150, 197), k) for k in range(3)])
    bands[:, 64:128, 64:128] = 0
    write(path, bands, transform=north_up(10), crs=UTM33, nodata=0, descriptions=NAMES,
          SPARSE_OK="TRUE", **BLOCKS)  # fmt: skip
    with rasterio.open(path) as file:
        assert file.tags(ns="TIFF", bidx=1).get("BLOCK_OFFSET_1_1") is None
    run(path, model, tmp_path / "out", formats=("none",))
    labels = read(tmp_path / "out" / "mask.tif")
    assert (labels[64:128, 64:128] == NODATA).all()
    assert (labels != NODATA).sum() == 150 * 197 - 64 * 64


def test_blocks_that_were_never_written_are_told_of_where_0_is_a_number(model, tmp_path, capsys):
    """A4: without a nodata value they read as 0, and nothing but the file's index shows it."""
    bands = np.stack([smooth((150, 197), k) for k in range(3)])
    bands[1:, 64:128, 64:128] = 0
    path = tmp_path / "sparse.tif"
    write(path, bands, transform=north_up(10), crs=UTM33, descriptions=NAMES, SPARSE_OK="TRUE",
          interleave="band", **BLOCKS)  # fmt: skip
    run(path, model, tmp_path / "out", formats=("none",))
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert [n for n in notes if "(8.33% of green, 8.33% of red)" in n and "a_nodata" in n]
    tokens = ["segment", str(path), str(tmp_path / "no"), "--model", str(model), "--strict"]
    assert command(tokens) == 6
    assert "never written" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("number", [34887, 50002, 60123], ids=["LERC", "JPEG XL", "no codec"])
def test_a_compression_that_cannot_be_read_is_named(number, model, tmp_path, capsys):
    """A7: tag 259 says which; a codec may be missing from this GDAL, or be none at all."""
    path = scene_of(tmp_path / "scene.tif", compress="deflate", **BLOCKS)
    content = path.read_bytes()
    tag = struct.pack("<HHIH", 259, 3, 1, 8)
    path.write_bytes(content.replace(tag, struct.pack("<HHIH", 259, 3, 1, number)))
    assert path.read_bytes() != content
    tokens = ["segment", str(path), str(tmp_path / "out"), "--model", str(model), "--quiet"]
    assert command(tokens) == 3
    said = capsys.readouterr().err
    assert said.startswith("geounet: ")
    assert said.count("\n") == 1
    assert "scene.tif" in said
    assert not (tmp_path / "out" / "mask.tif").exists()


WRONG_YAML = {
    "a day that is none": "date: 2024-99-99",
    "a number of 5,000 digits": "scale: " + "9" * 5000,
    "tagged integer": "scale: !!int abc",
    "tagged boolean": "scale: !!bool abc",
    "tagged time": "date: !!timestamp abc",
    "nested": "bands: " + "[" * 3000,
}


@pytest.mark.parametrize("kind", WRONG_YAML)
def test_yaml_that_cannot_be_read_ends_in_one_line(kind, scene, model, tmp_path, capsys):
    """A1: also beside a good scene, which is mapped."""
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG_YAML[kind] + "\n")
    assert command(["inspect", str(path)]) == 3
    said = capsys.readouterr().err
    assert "wrong.yaml: is not YAML" in said
    assert said.count("\n") == 1
    assert command(["train", str(path), str(tmp_path / "trained")]) == 2
    assert "wrong.yaml" in capsys.readouterr().err


def test_pipes_are_refused_and_not_waited_for(scene, model, tmp_path, capsys):
    """A1: an archive may hold them."""
    for name in ("pipe.tif", "pipe.yaml", "pipe.gpkg"):
        os.mkfifo(tmp_path / name)
    pipe = {suffix: str(tmp_path / f"pipe.{suffix}") for suffix in ("tif", "yaml", "gpkg")}
    scenes = [str(scene), pipe["tif"]]
    settings = ["--model", str(model), "--format", "none", "--window", "64", "--quiet"]
    assert command(["inspect", pipe["tif"]]) == 3
    assert command(["inspect", pipe["yaml"]]) == 3
    assert command(["train", pipe["yaml"], str(tmp_path / "trained")]) == 3
    out = str(tmp_path / "out")
    assert command(["segment", str(scene), out, *settings, "--aoi", pipe["gpkg"]]) == 3
    assert capsys.readouterr().err.count("is a pipe or a device") == 4
    assert command(["segment", *scenes, str(tmp_path / "many"), *settings]) == 4
    assert (tmp_path / "many" / "scene" / "mask.tif").exists()


@pytest.mark.parametrize("store", ["", "github://a/b", "nothing://a/b"])
def test_a_store_that_cannot_be_is_a_wrong_setting(store, scene, model, tmp_path, capsys):
    tokens = ["segment", str(scene), str(tmp_path / "out"), "--model", str(model)]
    assert command([*tokens, "--store", store]) == 2
    assert "store" in capsys.readouterr().err


class Truncates(Listener):
    """Cuts a file short once the first tile is done."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def advance(self, pixels):
        if not self.advanced:
            os.truncate(self.path, 2000)
        super().advance(pixels)


def test_a_scene_that_is_truncated_while_it_is_read_is_named(model, tmp_path):
    """A5: its last tiles cannot be read; what was done before is kept and nothing is placed."""
    path = scene_of(tmp_path / "cut.tif", shape=(310, 350), **BLOCKS)
    settings = SegmentSettings(window=64, formats=("none",))
    with pytest.raises(InputError, match=r"cut\.tif: "):
        segment(path, model, tmp_path / "out", settings, Truncates(path))
    assert not (tmp_path / "out" / "mask.tif").exists()


@pytest.mark.parametrize("side_car", ["scene.tif.aux.xml", "scene.tif.ovr"])
@pytest.mark.parametrize("content", [b"", b"<PAMDataset><", b"\xff\x00" * 900, b"II*\0"])
def test_rubbish_beside_a_scene_changes_nothing(side_car, content, model, tmp_path):
    """A6."""
    scene = make_scene(tmp_path / "scene.tif", (61, 83))
    run(scene, model, tmp_path / "clean", formats=("none",))
    (tmp_path / side_car).write_bytes(content)
    run(scene, model, tmp_path / "out", formats=("none",))
    assert (read(tmp_path / "out" / "mask.tif") == read(tmp_path / "clean" / "mask.tif")).all()


@pytest.mark.parametrize("content", [b"", b"\xff\x00" * 900, b"II*\0"])
def test_a_rubbish_mask_beside_a_scene_is_refused_or_passed_over(content, model, tmp_path, capsys):
    """A6: a .msk says what is valid, so that guessing at it could lose pixels without a word."""
    scene = make_scene(tmp_path / "scene.tif", (61, 83))
    (tmp_path / "scene.tif.msk").write_bytes(content)
    tokens = ["segment", str(scene), str(tmp_path / "out"), "--model", str(model), "--quiet"]
    assert command([*tokens, "--window", "64", "--format", "none"]) in (0, 3)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5), (64, 65)])
def test_the_smallest_scenes_are_mapped_to_their_own_shape(shape, model, tmp_path):
    """B11."""
    path = tmp_path / "small.tif"
    bands = np.full((3, *shape), 700, np.uint16)
    write(path, bands, transform=north_up(10), crs=UTM33, descriptions=NAMES)
    results = run(path, model, tmp_path / "out")
    labels = read(tmp_path / "out" / "mask.tif")
    assert labels.shape == shape
    assert (labels != NODATA).all()
    assert results.features >= 1


def test_a_class_may_not_have_the_value_of_no_data(tmp_path):
    """B9."""
    from pydantic import ValidationError

    from geounet.card import LandClass

    with pytest.raises(ValidationError, match="254"):
        LandClass(value=NODATA, name="sea", colour="#0000ff")


def test_scenes_of_one_name_do_not_overwrite_each_other(model, tmp_path, capsys):
    """B17."""
    first = make_scene(tmp_path / "a" / "x.tif", (61, 83), seed=0)
    second = make_scene(tmp_path / "b" / "x.tif", (61, 83), seed=7)
    out = tmp_path / "out"
    tokens = ["segment", str(first), str(second), str(out), "--model", str(model)]
    code = command([*tokens, "--window", "64", "--format", "none", "--quiet"])
    masks = list(out.rglob("mask.tif")) if out.exists() else []
    assert (code, len(masks)) in ((0, 2), (2, 0), (4, 1)), capsys.readouterr().err


def test_a_scenes_name_leads_nowhere_else(model, tmp_path, capsys):
    """G4: the name in a scene.yaml names the folder of its map."""
    for k, name in enumerate(("../../evil", "/tmp/evil-of-geounet")):
        folder = tmp_path / f"s{k}"
        make_scene(folder / "s.tif", (40, 50))
        bands = {band: {"file": "s.tif", "band": n + 1} for n, band in enumerate(NAMES)}
        about = {"name": name, "scale": 1e-4, "offset": 0.0, "bands": bands}
        (folder / "scene.yaml").write_text(yaml.safe_dump(about))
    scenes = [str(tmp_path / f"s{k}" / "scene.yaml") for k in range(2)]
    out = tmp_path / "a" / "b" / "out"
    tokens = ["segment", *scenes, str(out), "--model", str(model), "--window", "64"]
    command([*tokens, "--format", "none", "--quiet"])
    assert all(out in path.parents for path in tmp_path.rglob("mask.tif"))
    assert not Path("/tmp/evil-of-geounet").exists()
    assert not (tmp_path / "evil").exists()


def test_an_output_that_is_a_link_is_replaced_and_what_it_led_to_is_not(scene, model, tmp_path):
    """G7."""
    out, canary = tmp_path / "out", tmp_path / "canary"
    out.mkdir()
    canary.write_text("mine")
    for name in ("mask.tif", "mask.qml", "features.gpkg", "report.html", "report.json"):
        (out / name).symlink_to(canary)
    run(scene, model, out, overwrite=True)
    assert canary.read_text() == "mine"
    assert not any(path.is_symlink() for path in out.iterdir())


def test_a_lock_that_is_a_link_is_refused(scene, model, tmp_path, capsys):
    """G7."""
    (tmp_path / "canary").write_text("mine")
    (tmp_path / "out" / ".geounet").mkdir(parents=True)
    (tmp_path / "out" / ".geounet" / "lock").symlink_to(tmp_path / "canary")
    tokens = ["segment", str(scene), str(tmp_path / "out"), "--model", str(model)]
    assert command([*tokens, "--window", "64"]) == 5
    assert (tmp_path / "canary").read_text() == "mine"


def test_a_time_stamp_in_the_future_changes_nothing(model, tmp_path):
    """E10."""
    scene = make_scene(tmp_path / "scene.tif", (61, 83))
    run(scene, model, tmp_path / "now")
    os.utime(scene, (4e9, 4e9))
    run(scene, model, tmp_path / "later")
    assert outputs(tmp_path / "now") == outputs(tmp_path / "later")


def test_no_duration_is_taken_from_a_clock_that_can_step_back():
    """E10: time.time() is nowhere; the one date says since when a lock is held."""
    sources = {path: path.read_text() for path in (ROOT / "geounet").rglob("*.py")}
    assert not [path for path, text in sources.items() if "time.time()" in text]
    assert [path.name for path, text in sources.items() if "datetime.now" in text] == ["job.py"]
    assert not [path for path, text in sources.items() if "os.fork" in text]


def test_a_rotated_and_a_polar_scene_keep_their_places(model, tmp_path):
    """B3 and B14: see tests/test_vector_formats.py for each format."""
    for grid in ("rotated", "south-up", "polar"):
        scene = make_scene(tmp_path / f"{grid}.tif", (61, 83), grid)
        run(scene, model, tmp_path / grid, formats=("geojson",))
        with rasterio.open(tmp_path / grid / "mask.tif") as mask:
            assert mask.transform == GRIDS[grid][0]
