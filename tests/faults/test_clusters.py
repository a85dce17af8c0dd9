"""Jobs on clusters that somebody else started, and what goes wrong with them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from geounet import cli
from geounet.errors import ClusterError, SettingsError
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.faults.dask_cluster import DaskCluster, self_signed
from tests.jobs import make_scene
from tests.test_segment import outputs

pytestmark = pytest.mark.slow
SETTINGS = SegmentSettings(window=64, confidence=True)


@pytest.fixture
def dask(tmp_path):
    """A scheduler on this machine, without workers."""
    folder = tmp_path / "dask"
    folder.mkdir()
    with DaskCluster(folder) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole(scene, model, tmp_path_factory):
    """The outputs of a job in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    segment(scene, model, out, SETTINGS)
    return outputs(out)


def at(cluster, **changes):
    return SETTINGS.model_copy(update={"scheduler": cluster.address} | changes)


def test_two_workers_in_folders_of_their_own_give_the_bytes_of_one_process(
    dask, scene, model, whole, tmp_path
):
    dask.add_worker()
    dask.add_worker()
    segment(scene, model, tmp_path / "out", at(dask))
    assert outputs(tmp_path / "out") == whole
    # Not a pixel was written to where the workers run.
    assert not list(dask.folder.glob("worker?/**/*.tile"))


def test_a_worker_that_is_killed_costs_no_byte(dask, scene, model, whole, tmp_path):
    dask.add_worker()
    victim, out = dask.add_worker("--no-nanny"), tmp_path / "out"
    killer = threading.Thread(target=_when_begun, args=(out, victim, signal.SIGKILL))
    killer.start()
    segment(scene, model, out, at(dask))
    killer.join()
    assert victim.poll() is not None
    assert outputs(out) == whole


def test_a_scheduler_that_dies_ends_the_job_and_a_resume_finishes_it(dask, model, tmp_path, scene):
    dask.add_worker(threads=1)
    large, out = make_scene(tmp_path / "large.tif", (310, 350)), tmp_path / "out"
    killer = threading.Thread(target=_when_begun, args=(out, dask.scheduler, signal.SIGKILL))
    killer.start()
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"scheduler is gone.*--resume"):
        segment(large, model, out, at(dask, formats=("none",)))
    killer.join()
    assert time.monotonic() - began < 120
    here = SETTINGS.model_copy(update={"formats": ("none",)})
    segment(large, model, out, here.model_copy(update={"resume": True}))
    segment(large, model, tmp_path / "whole", here)
    assert outputs(out) == outputs(tmp_path / "whole")


def test_a_scheduler_without_workers_is_left_after_a_minute_with_the_reason(
    dask, scene, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("geounet.cluster.SECONDS_FOR_A_WORKER", 3.0)
    with pytest.raises(ClusterError, match="has no worker after 3 s; start one with `dask worker`"):
        segment(scene, model, tmp_path / "out", at(dask))
    assert not (tmp_path / "out").exists()


def test_a_worker_of_another_version_is_refused_by_name(scene, model, tmp_path):
    folder, other = tmp_path / "dask", tmp_path / "other"
    folder.mkdir()
    _another_version(other)
    with DaskCluster(folder, environment={"PYTHONPATH": str(other)}) as dask:
        dask.add_worker()
        with pytest.raises(SettingsError, match=r"worker tcp://\S+ has geounet 99\.0 \(here"):
            segment(scene, model, tmp_path / "out", at(dask))
    assert not (tmp_path / "out").exists()


def test_tls_is_spoken_with_the_given_certificates_and_refused_without(
    scene, model, whole, tmp_path
):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing, so that no certificate can be made")
    folder = tmp_path / "dask"
    folder.mkdir()
    tls = self_signed(folder)
    given = {"tls_ca": tls["ca-file"], "tls_cert": tls["cert"], "tls_key": tls["key"]}
    with DaskCluster(folder, tls=tls) as dask:
        dask.add_worker()
        assert dask.address.startswith("tls://")
        with pytest.raises(SettingsError, match="--tls-ca"):
            segment(scene, model, tmp_path / "no", at(dask))
        segment(scene, model, tmp_path / "out", at(dask, **given))
    assert outputs(tmp_path / "out") == whole


def test_a_scheduler_on_another_machine_needs_tls_or_a_word(scene, model, tmp_path, capsys):
    tokens = ["segment", str(scene), str(tmp_path / "out"), "--model", str(model)]
    assert cli.run([*tokens, "--scheduler", "tcp://192.0.2.1:8786"]) == 2
    assert "anybody on the network could run programs as you" in capsys.readouterr().err


def _when_begun(out: Path, process, number: int) -> None:
    """Send a signal to a process, and all of its group, once some tiles are committed."""
    journal = out / ".geounet" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") > 3:
            break
        time.sleep(0.01)
    os.killpg(process.pid, number)


def _another_version(folder: Path) -> None:
    """A folder that makes Python believe that another geounet is installed."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "old = m.version\n"
        "m.version = lambda name: '99.0' if name == 'geounet' else old(name)\n"
    )
