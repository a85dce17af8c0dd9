"""What a review by fresh eyes broke: faults of a job that must end in one clear line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely

from geounet import cli
from geounet.errors import InputError, InterruptedJobError, OutputError, SettingsError
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from geounet.store import _line
from tests.jobs import make_scene, read, smooth
from tests.listener import Listener
from tests.made_scenes import UTM33, north_up, write
from tests.test_segment import SMALL, StopsAfter, outputs, run, unfinished


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A tiled deflate file with rubbish in its middle: it opens, and fails when read."""
    path = tmp_path_factory.mktemp("torn") / "torn.tif"
    bands = np.stack([smooth((150, 197), k) for k in range(3)])
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    names = ("blue", "green", "red")
    write(path, bands, transform=north_up(10), crs=UTM33, descriptions=names, **layout)
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.seek(size // 3)
        file.write(b"\xff" * (size // 3))
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tile_that_cannot_be_read_ends_with_file_window_and_exit_3(
    workers, torn, model, tmp_path
):
    with pytest.raises(InputError, match=r"torn\.tif: .*rows"):
        run(torn, model, tmp_path / "out", workers=workers)


def test_a_scheduler_that_is_no_address_or_silent_leaves_nothing_behind(scene, model, tmp_path):
    with pytest.raises(ValueError, match="scheduler"):
        SegmentSettings(scheduler="foo bar")
    with pytest.raises(SettingsError, match="no Dask scheduler answers"):
        run(scene, model, tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()


def test_resume_does_not_overwrite_what_it_did_not_make(scene, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mask.tif").write_text("precious")
    with pytest.raises(OutputError, match=r"mask\.tif: exists"):
        run(scene, model, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "mask.tif").read_text() == "precious"


def test_resume_of_a_finished_job_whose_file_is_gone_makes_it_again(scene, model, tmp_path):
    run(scene, model, tmp_path / "out")
    before = outputs(tmp_path / "out")
    (tmp_path / "out" / "mask.tif").unlink()
    run(scene, model, tmp_path / "out", resume=True)
    assert outputs(tmp_path / "out") == before


def test_a_damaged_report_is_made_again(scene, model, tmp_path):
    run(scene, model, tmp_path / "out")
    before = outputs(tmp_path / "out")
    (tmp_path / "out" / "report.json").write_text('{"files": []}')
    run(scene, model, tmp_path / "out", resume=True)
    assert outputs(tmp_path / "out") == before


def test_files_of_others_with_part_in_their_names_are_left_alone(scene, model, tmp_path):
    (tmp_path / "out").mkdir()
    others = [".movie.part1.mp4", ".draft.partial", ".notes.12.part.txt"]
    for name in others:
        (tmp_path / "out" / name).write_text("mine")
    (tmp_path / "out" / ".mask.abc.part").mkdir()
    run(scene, model, tmp_path / "out")
    assert all((tmp_path / "out" / name).exists() for name in others)
    assert not (tmp_path / "out" / ".mask.abc.part").exists()


def test_square_brackets_are_printed_as_they_are(scene, model, tmp_path, capsys):
    out = tmp_path / "m[/x] o[old]"
    tokens = ["segment", str(scene), str(out), "--model", str(model), "--window", "64"]
    assert cli.run([*tokens, "--format", "none"]) == 0
    assert str(out / "mask.tif") in capsys.readouterr().out.replace("\n", "")


def test_a_stop_in_the_last_batch_is_a_stop(scene, model, tmp_path):
    settings = SegmentSettings(window=512, formats=("none",))
    with pytest.raises(InterruptedJobError, match="1 of 1 tiles done") as stopped:
        segment(scene, model, tmp_path / "out", settings, StopsAfter(1, signal.SIGINT))
    assert stopped.value.exit_code == 130


@pytest.mark.parametrize("part", [".geounet", ".geounet/tiles"])
def test_a_work_folder_that_is_a_link_is_refused(part, scene, model, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "f").write_text("mine")
    link = tmp_path / "out" / part
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="is a link"):
        run(scene, model, tmp_path / "out")
    assert [p.name for p in (tmp_path / "victim").iterdir()] == ["f"]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda line: {"tile": line["tile"]},
        lambda line: {**line, "extra": 1},
        lambda line: {**line, "pixels": 5},
    ],
)
def test_a_journal_line_that_we_did_not_write_is_not_believed(tamper, scene, model, tmp_path):
    run(scene, model, tmp_path / "whole")
    unfinished(scene, model, tmp_path / "out")
    journal = tmp_path / "out" / ".geounet" / "journal.jsonl"
    first, *lines = journal.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    # With a sum that is right, so that only what the line says can give it away.
    changed = [
        _line(tamper({name: value for name, value in entry.items() if name != "sum"}))
        for entry in entries
    ]
    journal.write_bytes(b"".join([f"{first}\n".encode(), *changed]))
    run(scene, model, tmp_path / "out", resume=True)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [
        {"area_m2": {"0": 1e12}, "pixels": {"0": 123456}},
        {"sha256": ""},
        {"pixels": {"0": "x"}, "area_m2": {"0": None}},
        {"tile": "a\0b"},
    ],
    ids=lambda change: " ".join(change),
)
def test_a_journal_line_that_was_changed_on_the_disk_is_done_again(change, scene, model, tmp_path):
    unfinished(scene, model, tmp_path / "out", formats=("none",))
    whole = run(scene, model, tmp_path / "whole", formats=("none",))
    journal = tmp_path / "out" / ".geounet" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    journal.write_text("\n".join(lines) + "\n")
    found = run(scene, model, tmp_path / "out", resume=True, formats=("none",))
    assert found.classes == whole.classes
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def _device(path):
    path.symlink_to("/dev/zero")


def _giant(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("lies", [_device, os.mkfifo, _giant])
def test_what_no_job_of_ours_wrote_counts_as_not_done(lies, scene, model, tmp_path):
    """A resume neither waits for it nor reads it without end."""
    whole = run(scene, model, tmp_path / "whole", formats=("none",))
    for part in ("tiles/*.tile", "journal.jsonl"):
        out = tmp_path / part.replace("/", " ")
        unfinished(scene, model, out, formats=("none",))
        path = next((out / ".geounet").glob(part))
        path.unlink()
        lies(path)
        assert run(scene, model, out, resume=True, formats=("none",)).classes == whole.classes


@pytest.mark.parametrize("name", [".geounet/journal.jsonl", "report.json"])
def test_a_journal_or_a_report_of_brackets_is_damaged(name, scene, model, tmp_path):
    whole = run(scene, model, tmp_path / "out", formats=("none",))
    (tmp_path / "out" / ".geounet").mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_bytes(b"[" * 200_000 + b"\n")
    found = run(scene, model, tmp_path / "out", resume=True, formats=("none",))
    assert found.classes == whole.classes


def test_resume_of_a_finished_job_whose_file_was_damaged_makes_it_again(scene, model, tmp_path):
    run(scene, model, tmp_path / "out", formats=("none",))
    whole = outputs(tmp_path / "out")
    os.truncate(tmp_path / "out" / "mask.tif", 1000)
    run(scene, model, tmp_path / "out", resume=True, formats=("none",))
    assert outputs(tmp_path / "out") == whole


def test_a_store_is_found_again_whatever_the_machine_is_called(scene, model, tmp_path, monkeypatch):
    store = tmp_path / "store"
    unfinished(scene, model, tmp_path / "out", formats=("none",), store=str(store))
    journal = tmp_path / "out" / ".geounet" / "journal.jsonl"
    done = len(journal.read_text().splitlines()) - 1
    assert done
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    listener = Listener()
    settings = SegmentSettings(
        **{**SMALL, "formats": ("none",), "store": str(store), "resume": True}
    )
    segment(scene, model, tmp_path / "out", settings, listener)
    assert listener.stages[0][2] > 0
    assert not list(store.iterdir())


def test_a_scene_that_changed_is_named_by_file_and_field(scene, model, tmp_path):
    path = shutil.copy(scene, tmp_path / "scene.tif")
    unfinished(path, model, tmp_path / "out")
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA="another")
        file.write(file.read(1) + 1, 1)
    with pytest.raises(SettingsError, match=r"scene\.files.*scene\.tif\.\w+ was .* and is now "):
        run(path, model, tmp_path / "out", resume=True)


def test_an_output_that_cannot_be_placed_is_refused_before_any_tile(scene, model, tmp_path):
    (tmp_path / "out" / "mask.tif").mkdir(parents=True)
    listener = Listener()
    settings = SegmentSettings(window=64, formats=("none",), overwrite=True)
    with pytest.raises(OutputError, match=r"mask\.tif: is a folder"):
        segment(scene, model, tmp_path / "out", settings, listener)
    with pytest.raises(OutputError, match="character that file names should not"):
        segment(scene, model, tmp_path / "o\nut", settings, listener)
    assert not listener.stages


def _network(monkeypatch, canary):
    """An environment in which GDAL would ask the canary for whatever it takes for an address."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "A",
        "AWS_SECRET_ACCESS_KEY": "B",
        "AWS_S3_ENDPOINT": f"127.0.0.1:{canary.server_port}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "CPL_VSIL_USE_TEMP_FILE_FOR_RANDOM_WRITE": "YES",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["x" * 256, "n/" * 2500 + "o", "loop/o"])
def test_an_output_that_cannot_be_a_name_is_refused(name, scene, model, tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    tokens = ["segment", str(scene), str(tmp_path / name), "--model", str(model)]
    assert cli.run([*tokens, "--window", "64", "--quiet"]) == 5
    assert "choose" in capsys.readouterr().err


def test_an_output_that_reads_as_an_address_is_a_plain_folder(
    scene, model, tmp_path, monkeypatch, canary
):
    _network(monkeypatch, canary)
    monkeypatch.chdir(tmp_path)
    run(scene, model, tmp_path / "whole")
    for out in ("s3:o", f"http:/127.0.0.1:{canary.server_port}/x"):
        tokens = ["segment", str(scene), out, "--model", str(model), "--window", "64", "--quiet"]
        assert cli.run(tokens) == 0, out
        assert outputs(tmp_path / out) == outputs(tmp_path / "whole")
    assert cli.run(["vectorize", "s3:o/mask.tif", "s3:v.fgb", "--quiet"]) == 0
    assert cli.run(["vectorize", "s3:o/mask.tif", "s3:v.fgb", "--resume", "--quiet"]) == 0
    assert (tmp_path / "s3:v.fgb").is_file()
    assert canary.seen == []


@pytest.mark.parametrize("name", ["/vsimem/o", "/vsizip/../vsimem/a", "link"])
def test_names_of_gdal_s_own_are_no_outputs(name, scene, model, tmp_path, capsys):
    (tmp_path / "link").symlink_to("/vsimem/o")
    out = str(tmp_path / name)
    labels = np.zeros((1, 8, 9), np.uint8)
    mask = str(write(tmp_path / "mask.tif", labels, transform=north_up(10), crs=UTM33))
    assert cli.run(["segment", str(scene), out, "--model", str(model), "--window", "64"]) == 5
    assert cli.run(["vectorize", mask, f"{out}/a.fgb", "--quiet"]) == 5
    said = capsys.readouterr().err
    assert said.count("names that start with /vsi are GDAL's own") == 2
    assert not any(map(os.path.exists, ("/vsimem", "/vsizip")))


def test_an_area_of_interest_may_be_the_whole_world(scene, model, tmp_path):
    gpd.GeoSeries([shapely.box(-180, -90, 180, 90)], crs=4326).to_file(tmp_path / "w.geojson")
    run(scene, model, tmp_path / "full", formats=("none",))
    run(scene, model, tmp_path / "part", formats=("none",), aoi=str(tmp_path / "w.geojson"))
    assert (read(tmp_path / "full" / "mask.tif") == read(tmp_path / "part" / "mask.tif")).all()


def test_an_area_of_interest_without_geometry_or_in_disguise_is_refused(scene, model, tmp_path):
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "attributes.gpkg")
    with pytest.raises(InputError, match="has no geometry"):
        run(scene, model, tmp_path / "out", aoi=str(tmp_path / "attributes.gpkg"))
    (tmp_path / "evil.gpkg").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(InputError, match=r"is no \.gpkg file, whatever its name says"):
        run(scene, model, tmp_path / "out", aoi=str(tmp_path / "evil.gpkg"))


def test_overwriting_removes_the_old_results_that_are_not_made_again(scene, model, tmp_path):
    run(scene, model, tmp_path / "out", confidence=True, formats=("gpkg", "shp"))
    run(scene, model, tmp_path / "out", overwrite=True, formats=("geojson",))
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {
        "features.geojson", "features.qml", "mask.qml", "mask.tif", "mask.tif.aux.xml",
        "report.html", "report.json",
    }  # fmt: skip


def test_a_job_that_keeps_its_tiles_is_not_called_unfinished(scene, model, tmp_path):
    run(scene, model, tmp_path / "out", keep_work=True)
    assert (tmp_path / "out" / ".geounet" / "tiles").exists()
    with pytest.raises(OutputError, match=r"mask\.tif: exists"):
        run(scene, model, tmp_path / "out")


def test_an_empty_path_and_scenes_that_all_fail_have_their_exit_codes(model, tmp_path, capsys):
    nowhere = [str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), str(tmp_path / "out")]
    assert cli.run(["segment", "a.tif", "", "--model", str(model)]) == 2
    assert cli.run(["segment", *nowhere, "--model", str(model)]) == 3
    assert cli.run(["segment", *nowhere, "--model", "no-such-model"]) == 6
    assert "a path is empty" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_on_a_terminal_reaches_every_process_and_ends_in_one_line(workers, model, tmp_path):
    scene = make_scene(tmp_path / "scene.tif", (310, 350))
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "geounet.cli", "segment", str(scene), str(out),
        "--model", str(model), "--window", "64", "--workers", workers,
    ]  # fmt: skip
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    journal = out / ".geounet" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume to go on" in errors
    with pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(out / "mask.tif")


def test_names_that_are_too_long_are_read_or_refused(scene, model, tmp_path, capsys):
    """With a side-car's ending they are longer than a name can be."""
    long = tmp_path / ("x" * 250 + ".tif")
    shutil.copy(scene, long)
    out = tmp_path / "out"
    assert cli.run(["segment", str(long), str(out), "--model", str(model), "--quiet"]) == 0
    (out / "mask.tif").rename(long)
    assert cli.run(["vectorize", str(long), str(tmp_path / "a.fgb"), "--quiet"]) == 0
    name, job = "y" * 300, ["segment", str(scene), str(tmp_path / "other"), "--quiet", "--model"]
    for tokens, code in (
        ([*job, name], 6),
        (["models", "show", name], 6),
        (["inspect", name], 3),
        ([*job, str(model), "--mask", f"{name}:values=1"], 3),
        ([*job, str(model), "--band", f"red={name}"], 2),
        ([*job, str(model), "--aoi", f"{name}.gpkg"], 3),
        (["vectorize", name, str(tmp_path / "b.fgb")], 3),
    ):
        assert cli.run(tokens) == code, tokens
    assert "bug" not in capsys.readouterr().err
