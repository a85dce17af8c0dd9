"""Killed anywhere, a `vectorize` goes on to the bytes of one that was not."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio
from affine import Affine

from geounet.polygons.lattice import SIDE
from tests.faults.killed_jobs import drawn, whole
from tests.faults.zygote import Fate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WORK = r"{out}/\.features\.geounet/\.geounet"
MOVES = rf"os\.rename {WORK}/scratch/\.features\.\w+\.part/.*"
"""Files that take their names."""
CELLS = 6


def outputs(out):
    """Of every file; a folder under way has none."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    """Three by two cells of blotches that cross their borders."""
    path = tmp_path_factory.mktemp("mask") / "mask.tif"
    coarse = np.random.default_rng(5).integers(0, 3, (60, 90)).astype(np.uint8)
    rows, cols = 2 * SIDE - 10, 3 * SIDE - 20
    values = np.kron(coarse, np.ones((70, 70), np.uint8))[:rows, :cols]
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=Affine(10, 0, 399_960, 0, -10, 5_590_020), compress="deflate",
        tiled=True,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


@pytest.fixture(scope="module")
def job(zygote, mask, tmp_path_factory):
    tokens = ["vectorize", str(mask), "{out}/features.gpkg", "--format", "shp", "--simplify", "2px"]
    folder = tmp_path_factory.mktemp("job")
    return whole(zygote, [*tokens, "--min-area", "100px", "--absorb"], folder, outputs)


def test_killed_at_every_cell_that_the_journal_has(job, tmp_path):
    for cell in range(CELLS):
        out = tmp_path / f"{cell}"
        assert job.killed_before(out, cell + 1, rf"open a {WORK}/journal\.jsonl")
        job.assert_sound_and_resumes(out, cell)


@pytest.mark.long
def test_killed_before_each_file_takes_its_name(job, tmp_path):
    moves = job.count(MOVES, tmp_path)
    assert moves >= 5
    for number in range(1, moves + 1):
        assert job.killed_before(tmp_path / f"{number}", number, MOVES)
        job.assert_sound_and_resumes(tmp_path / f"{number}", number)


@pytest.mark.long
def test_killed_at_random_moments(job, tmp_path):
    assert job.assert_survives(drawn(11, 8, 0.0, 1.0), tmp_path) >= 5


def test_what_was_traced_is_not_traced_again(job, tmp_path):
    out = tmp_path / "out"
    assert "tracing" in job.start(out).end()
    again = tmp_path / "again"
    assert job.killed_before(again, 1, MOVES)
    assert "tracing" not in job.start(again, "--resume").end()
    assert outputs(again) == job.files


def test_a_resume_of_a_finished_one_changes_nothing_unless_the_raster_is_younger(
    job, mask, tmp_path
):
    out = tmp_path / "out"
    assert job.start(out).wait() == 0
    assert "was finished, and stays as it is" in job.start(out, "--resume").end()
    assert outputs(out) == job.files
    old = mask.stat().st_mtime_ns
    os.utime(mask)
    try:
        child = job.start(out, "--resume")
        assert child.wait() == 5
        assert "features.gpkg: exists" in child.errors
    finally:
        os.utime(mask, ns=(old, old))


def test_a_resume_with_other_settings_or_another_raster_names_what_changed(job, mask, tmp_path):
    out = tmp_path / "out"
    assert job.killed_before(out, 3, rf"open a {WORK}/journal\.jsonl")
    child = job.start(out)
    assert child.wait() == 5
    assert "holds an unfinished job; go on with --resume" in child.errors
    child = job.start(out, "--resume", "--smooth", "1")
    assert child.wait() == 2
    assert "cannot resume, polygons.smooth was 0 and is now 1" in child.errors
    job.assert_sound_and_resumes(out, "refused")


def test_cells_that_were_damaged_are_traced_again(job, tmp_path):
    out = tmp_path / "out"
    assert job.killed_before(out, 1, MOVES)
    cell = next((out / ".features.geounet/.geounet/tiles").glob("*3.cell"))
    cell.write_bytes(cell.read_bytes()[:-40])
    assert "1 traced parts are gone or damaged; done again" in job.start(out, "--resume").end()
    assert outputs(out) == job.files


def test_only_what_the_first_run_might_replace_is_replaced(job, tmp_path):
    """Files of other formats, a style, and what came to be between the two runs are the user's."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "features.qml").write_text("mine")
    assert job.killed_before(out, 1, MOVES)
    (out / "features.fgb").write_text("mine")
    child = job.start(out, "--resume", "--format", "fgb")
    assert child.wait() == 5
    assert "features.fgb: exists" in child.errors
    job.start(out, "--resume").end()
    assert (out / "features.qml").read_text() == "mine"
    assert (out / "features.fgb").read_text() == "mine"
    assert (out / "features.gpkg").read_bytes() == job.files["features.gpkg"]


def test_a_file_that_came_to_be_after_the_kill_is_not_replaced(job, tmp_path):
    out = tmp_path / "out"
    assert job.killed_before(out, CELLS, rf"open a {WORK}/journal\.jsonl")
    (out / "features.gpkg").write_text("mine")
    child = job.start(out, "--resume")
    assert child.wait() == 5
    assert (out / "features.gpkg").read_text() == "mine"


def test_what_was_begun_with_overwrite_goes_on_with_resume(job, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "features.gpkg").write_text("old")
    child = job.start(out, "--overwrite", fate=Fate(MOVES.format(out=out), 1))
    assert child.wait() == -9
    assert (out / "features.gpkg").read_text() == "old"
    job.assert_resumes(out, "overwrite")


def test_a_mask_beside_the_raster_that_changed_is_noticed(job, mask, tmp_path):
    out = tmp_path / "out"
    assert job.killed_before(out, 3, rf"open a {WORK}/journal\.jsonl")
    beside = mask.with_name("mask.tif.msk")
    with rasterio.open(mask) as file:
        shown = np.full(file.shape, 255, np.uint8)
        shown[:50] = 0
        profile = {**file.profile, "nodata": None}
    try:
        with rasterio.open(beside, "w", **profile) as file:
            file.write(shown, 1)
        child = job.start(out, "--resume")
        assert child.wait() == 2
        assert "cannot resume, raster.mask_beside was None" in child.errors
    finally:
        beside.unlink()


def test_a_limit_that_was_passed_may_be_raised(job, tmp_path):
    out = tmp_path / "out"
    child = job.start(out, "--max-features", "3")
    assert child.wait() == 2
    assert "tracing" not in job.start(out, "--resume", "--max-features", "900000").end()
    assert outputs(out) == job.files
