"""A job on a Dask cluster that somebody else started: the same bytes as in one process."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import make_model, make_scene
from tests.test_segment import outputs

pytestmark = pytest.mark.slow


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler with one worker of three threads, each its own process."""
    contact = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    common = ["--scheduler-file", str(contact), "--no-dashboard"]
    host = ["--host", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*dask, "scheduler", *host, "--port", "0", *common], **quiet)]
    try:
        deadline = time.monotonic() + 60
        while not contact.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        worker = ["worker", *host, "--nthreads", "3", "--no-nanny", *common]
        processes.append(subprocess.Popen([*dask, *worker], **quiet))
        yield json.loads(contact.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def test_a_cluster_gives_the_bytes_of_one_process(scheduler, tmp_path):
    scene = make_scene(tmp_path / "scene.tif")
    model = make_model(tmp_path / "drawn.safetensors")
    settings = SegmentSettings(window=64, confidence=True)
    segment(scene, model, tmp_path / "here", settings)
    there = settings.model_copy(update={"scheduler": scheduler})
    segment(scene, model, tmp_path / "there", there)
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
