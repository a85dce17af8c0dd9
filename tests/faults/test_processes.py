"""Processes with little to spare, hostile surroundings, a folder that is not theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio

from geounet.card import NODATA
from tests.faults.killed_jobs import hidden, journalled
from tests.jobs import make_model, make_scene, smooth
from tests.made_scenes import UTM33, north_up, write
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NOBODY = 65534
HOSTILE = {
    "GDAL_DRIVER_PATH": "/nonexistent/plugins",
    "GDAL_VRT_ENABLE_PYTHON": "YES",
    "PROJ_DATA": "/nonexistent/proj",
    "PROJ_LIB": "/nonexistent/proj",
    "GDAL_NUM_THREADS": "4",
    "CPL_DEBUG": "ON",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": "1",
    "GTIFF_IGNORE_READ_ERRORS": "YES",
}
"""G11: what a user, or somebody else, may have exported."""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A scene of some 100 tiles and a command, without its output."""
    folder = tmp_path_factory.mktemp("job")
    scene = make_scene(folder / "scene.tif", (150, 197))
    model = make_model(folder / "drawn.safetensors", depth=1)
    return ["segment", scene, "{out}", "--model", model, "--window", "32", "--min-area", "20px"]


def started(zygote, job, out, *flags, **how):
    return zygote.start([str(token).format(out=out) for token in [*job, *flags]], **how)


def begun(zygote, job, out):
    """A job that has done a tile."""
    child = started(zygote, job, out)
    deadline = time.monotonic() + 120
    while not journalled(out):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return child


def done(zygote, job, out, *flags, **how):
    child = started(zygote, job, out, *flags, **how)
    assert child.wait() == 0, child.errors
    return outputs(out)


@pytest.fixture(scope="module")
def whole(zygote, job, tmp_path_factory):
    return done(zygote, job, tmp_path_factory.mktemp("whole") / "out")


def test_a_job_needs_few_open_files(zygote, job, whole, tmp_path):
    """C7: 64 handles for a hundred tiles: each file is closed when it was read."""
    limits = {"RLIMIT_NOFILE": 64}
    assert done(zygote, job, tmp_path / "out", limits=limits) == whole


def test_a_second_job_in_the_folder_is_refused_until_the_first_is_dead(
    zygote, job, whole, tmp_path
):
    """D4: by two processes; SIGKILL lets go of the lock, as the kernel holds it."""
    out = tmp_path / "out"
    first = begun(zygote, job, out)
    os.killpg(first.pid, signal.SIGSTOP)
    second = started(zygote, job, out, "--resume")
    assert second.wait() == 5
    assert f"locked by pid {first.pid} on" in second.errors
    first.kill()
    assert first.wait() == -9
    assert done(zygote, job, out, "--resume") == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_and_loses_nothing(number, zygote, job, whole, tmp_path):
    """E5 and E6."""
    out = tmp_path / "out"
    child = begun(zygote, job, out)
    child.kill(number)
    time.sleep(0.01)
    child.kill(number)
    assert child.wait(20) in (-number, 128 + number)
    assert done(zygote, job, out, "--resume") == whole
    assert not hidden(out)


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(zygote, tmp_path):
    """D2: as nobody, since root may write everywhere."""
    if os.geteuid() != 0:
        pytest.skip("becoming nobody needs root, and nobody else is known to lack the right")
    given, locked = tmp_path / "given", tmp_path / "locked"
    scene = make_scene(given / "scene.tif", (40, 50))
    model = make_model(given / "drawn.safetensors", depth=1)
    locked.mkdir(0o555)
    for folder in (given, *given.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    tokens = ["segment", scene, locked / "out", "--model", model, "--window", "32"]
    child = zygote.start(tokens, user=NOBODY)
    assert child.wait() == 5, child.errors
    said = [line for line in child.errors.splitlines() if line.startswith("geounet: ")]
    assert len(said) == 1
    assert "Permission denied" in said[0]
    assert str(locked / "out") in said[0]


def test_a_hostile_environment_changes_no_byte_and_doctor_shows_it(job, whole, tmp_path):
    """G11: in a process of its own, since libraries look at it when they are loaded."""
    out = tmp_path / "out"
    tokens = [str(token).format(out=out) for token in job]
    env = {**os.environ, **HOSTILE}
    program = [sys.executable, "-m", "geounet.cli"]
    ended = subprocess.run([*program, *tokens], env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert outputs(out) == whole
    doctor = subprocess.run([*program, "doctor"], env=env, capture_output=True, text=True)
    for name in ("GDAL_DRIVER_PATH", "GDAL_VRT_ENABLE_PYTHON", "PROJ_DATA", "GDAL_NUM_THREADS"):
        assert name in doctor.stdout + doctor.stderr, name


def sparse(path, side):
    """A scene of so many pixels a side of which nothing but a corner was ever written."""
    layout = {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "BIGTIFF": "YES"}
    about = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint16"}
    about |= {"nodata": 0, "crs": UTM33, "transform": north_up(0.1), "SPARSE_OK": True}
    corner = np.stack([smooth((64, 64), seed) for seed in range(3)])
    with rasterio.open(path, "w", **about, **layout) as file:
        file.descriptions = ("blue", "green", "red")
        file.write(corner, window=((side - 64, side), (side - 64, side)))
    return path


def test_a_scene_that_is_enormous_is_refused_or_goes_by_windows(zygote, tmp_path):
    """C1: 160 gigapixels are refused; 1.6 GB are mapped in 2, half of them for libraries."""
    model = make_model(tmp_path / "drawn.safetensors", depth=1)
    job = [tmp_path / "out", "--model", model, "--window", "1024", "--format", "none", "--quiet"]
    limits = {"RLIMIT_DATA": 2 << 30}
    enormous = sparse(tmp_path / "enormous.tif", 400_000)
    for tokens in (["inspect", enormous], ["segment", enormous, *job]):
        child = zygote.run(tokens, limits=limits, seconds=60)
        assert child.returncode == 3, child.errors
        assert "160,000,000,000 pixels, more than --max-pixels" in child.errors
    child = zygote.run(["segment", sparse(tmp_path / "large.tif", 16_384), *job], limits=limits)
    assert child.returncode == 0, child.errors
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:
        assert (file.read(1, window=((16_320, 16_384), (16_320, 16_384))) != NODATA).all()
        assert (file.read(1, window=((16_000, 16_320), (16_000, 16_320))) == NODATA).all()


def test_a_compression_bomb_is_read_in_bounded_memory(zygote, tmp_path):
    """C2: 450 MB of zeros in half a megabyte, and a GB beside what the libraries take."""
    path = tmp_path / "bomb.tif"
    bands = np.zeros((3, 512, 512), np.uint8)
    names = ("blue", "green", "red")
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd"}
    about = {"driver": "GTiff", "count": 3, "height": 12288, "width": 12288, "dtype": "uint8"}
    about["nodata"] = 0
    with rasterio.open(path, "w", crs=UTM33, transform=north_up(10), **about, **layout) as file:
        file.descriptions = names
        for row in range(0, 12288, 512):
            for col in range(0, 12288, 512):
                file.write(bands, window=((row, row + 512), (col, col + 512)))
    assert path.stat().st_size < 1_000_000
    model = make_model(tmp_path / "drawn.safetensors", depth=1)
    tokens = ["segment", path, tmp_path / "out", "--model", model, "--window", "1024"]
    limits = {"RLIMIT_DATA": 2 << 30}
    scaling = ["--scale", "0.0001", "--offset", "0"]
    child = zygote.run([*tokens, *scaling, "--format", "none", "--quiet"], limits=limits)
    assert child.returncode == 0, child.errors


def test_a_mask_of_salt_and_pepper_becomes_polygons_within_bounds(zygote, tmp_path):
    """C5: 70,000 polygons of a million pixels."""
    noise = np.random.default_rng(5).integers(0, 3, (1, 1000, 1000)).astype(np.uint8)
    write(tmp_path / "noise.tif", noise, transform=north_up(10), crs=UTM33, nodata=255)
    tokens = ["vectorize", tmp_path / "noise.tif", tmp_path / "noise.gpkg"]
    child = zygote.run(tokens, limits={"RLIMIT_DATA": 2 << 30}, seconds=240)
    assert child.returncode == 0, child.errors
    assert int(child.printed.split()[0]) > 60_000
