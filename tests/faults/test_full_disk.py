"""A disk that is full at any moment: exit 5 with path and free bytes, and nothing is lost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.faults.full_disks import files_of, small_disk
from tests.faults.killed_jobs import hidden
from tests.jobs import make_model, make_scene
from tests.test_segment import outputs
from tests.test_train import make_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MOMENTS = 20
NAMES = ("mask.tif", "f.gpkg", "f.shp", "f.geojson", "f.fgb", "f.parquet")
"""A mask is written as a plain GeoTIFF first, and then as a COG."""
FREE = re.compile(r"\(.*[\d,]+ bytes free\)")


def whole_of(zygote, path):
    """The files of an undisturbed run, as bytes."""
    child = zygote.run([path], call="tests.faults.full_disks:write_whole")
    assert child.returncode == 0, child.errors
    return files_of(path)


def assert_refused(child, out, *, alone=True):
    """Exit 5, in one line that names the place and how much is free; ``alone`` on standard error.

    While a checkpoint is written, orbax and tensorstore print tracebacks before it.
    """
    assert child.returncode == 5, (child.returncode, child.errors)
    lines = child.errors.splitlines()
    said = [line for line in lines if line.startswith("geounet: ")]
    assert len(said) == 1, child.errors
    assert lines == said or not alone, child.errors
    assert str(out) in said[0], said
    assert FREE.search(said[0]), said
    assert "Traceback" not in child.errors


@pytest.mark.parametrize("name", NAMES)
def test_files_that_may_not_grow_leave_nothing_at_the_final_name(name, zygote, tmp_path):
    """RLIMIT_FSIZE from half-way on, at 20 sizes up to one byte below that of the largest file."""
    whole = whole_of(zygote, tmp_path / "whole" / name)
    largest = max(map(len, whole.values()))
    limits = np.linspace(0, largest - 1, MOMENTS).astype(int)
    path = tmp_path / "out" / name
    for limit in limits:
        child = zygote.run([path, int(limit)], call="tests.faults.full_disks:write_limited")
        assert_refused(child, path)
        assert "`ulimit -f`" in child.errors
        assert not files_of(path), limit
        assert not path.parent.exists() or not hidden(path.parent), limit
    assert whole_of(zygote, path) == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_nothing_at_the_final_name(name, zygote, tmp_path):
    """A mounted disk of 20 sizes, from a page to a page below what it takes."""
    whole = whole_of(zygote, tmp_path / "whole" / name)
    with small_disk(tmp_path / "disk") as disk:
        path = disk.place / "out" / name

        def works():
            return not zygote.run([path], call="tests.faults.full_disks:write_whole").returncode

        least = disk.least(works, enough=4096)
        for pages in np.linspace(1, least - 1, MOMENTS).astype(int):
            disk.resize(pages)
            child = zygote.run([path], call="tests.faults.full_disks:write_whole")
            if child.returncode:
                assert_refused(child, path)
                assert "the disk is full" in child.errors
                assert not files_of(path), pages
            else:
                assert files_of(path) == whole, pages
        disk.resize(1)
        assert not works()
        disk.grow()
        assert whole_of(zygote, path) == whole


def test_a_job_on_a_full_disk_resumes_when_there_is_room(zygote, tmp_path):
    """Journal, tile store, rasters, cells, polygons, reports: wherever 20 sizes let it come."""
    scene = make_scene(tmp_path / "scene.tif", (90, 110))
    model = make_model(tmp_path / "drawn.safetensors", depth=1)
    job = ["segment", scene, "{out}", "--model", model, "--window", "32", "--confidence"]
    job += ["--min-area", "20px", "--format", "gpkg", "--format", "shp", "--quiet"]

    def run(out, *flags):
        return zygote.run([str(token).format(out=out) for token in [*job, *flags]])

    assert run(tmp_path / "whole").returncode == 0
    whole = outputs(tmp_path / "whole")
    with small_disk(tmp_path / "disk") as disk:
        out = disk.place / "out"
        least = disk.least(lambda: run(out).returncode == 0, enough=2048)
        refused = 0
        for pages in np.linspace(1, least - 1, MOMENTS).astype(int):
            disk.resize(pages)
            child = run(out)
            if child.returncode:
                refused += 1
                assert_refused(child, out)
                left = {p.name for p in out.iterdir()} - {".geounet"} if out.exists() else set()
                assert left <= whole.keys(), left
                assert all(
                    (out / name).read_bytes() == whole[name]
                    for name in left - {"report.html", "report.json"}
                )
            disk.grow()
            child = run(out, "--resume")
            assert child.returncode == 0, (pages, child.errors)
            assert outputs(out) == whole, pages
            assert not hidden(out), pages
        assert refused >= MOMENTS - 2


@pytest.mark.long
def test_a_training_on_a_full_disk_resumes_when_there_is_room(zygote, tmp_path):
    """Settings, checkpoints, records, model, pictures."""
    config = make_set(tmp_path / "set", epochs=1, batch=8, checkpoint_minutes=0)

    def run(out, *flags):
        return zygote.run(["train", config, out, "--quiet", *flags])

    assert run(tmp_path / "whole").returncode == 0
    model = (tmp_path / "whole/model.safetensors").read_bytes()
    with small_disk(tmp_path / "disk") as disk:
        out = disk.place / "out"
        for pages in (1, 2, 4, 16, 64, 128, 256, 320, 384, 448):
            disk.resize(pages)
            child = run(out)
            if child.returncode:
                assert_refused(child, out, alone=False)
            disk.grow()
            child = run(out, "--resume")
            assert child.returncode == 0, (pages, child.errors)
            assert (out / "model.safetensors").read_bytes() == model
            assert not hidden(out), pages
