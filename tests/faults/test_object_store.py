"""Tiles kept elsewhere than in OUT: in a folder that jobs share, or in an object store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest

from geounet.errors import GeounetError, OutputError, SettingsError
from geounet.objects import objects_at
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.test_segment import StopsAfter, outputs

SETTINGS = SegmentSettings(window=64, confidence=True)


@pytest.fixture(scope="module")
def whole(scene, model, tmp_path_factory):
    """The outputs of a job that keeps its tiles in OUT."""
    out = tmp_path_factory.mktemp("whole") / "out"
    segment(scene, model, out, SETTINGS)
    return outputs(out)


@pytest.fixture(scope="module")
def bucket():
    """An S3 server of this machine, with a bucket; the environment names it."""
    pytest.importorskip("s3fs", reason="s3fs is missing: pip install 'geounet[s3]'")
    pytest.importorskip("moto", reason="moto is missing, which is the S3 server of this test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-c", code], **quiet)
    address = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            _make_bucket(f"{address}/tiles")
            yield "s3://tiles/jobs"
        finally:
            server.terminate()
            server.wait(30)


def _make_bucket(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(Request(address, method="PUT"), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    return request.getfixturevalue("bucket") if request.param == "s3" else str(tmp_path / "store")


def keys(store: str) -> list[str]:
    """What a store holds."""
    import fsspec

    files = fsspec.filesystem("s3" if store.startswith("s3") else "file", use_listings_cache=False)
    return files.find(store) if files.exists(store) else []


def kept_of_a_stopped_job(store: str, scene, model, out) -> list[str]:
    """What a job that was stopped after some tiles leaves in its store."""
    settings = SETTINGS.model_copy(update={"store": store})
    with pytest.raises(GeounetError, match="stopped"):
        segment(scene, model, out, settings, StopsAfter(4, signal.SIGINT))
    return keys(store)


@pytest.mark.slow
def test_a_store_elsewhere_changes_no_byte_and_is_empty_at_the_end(
    store, scene, model, whole, tmp_path
):
    settings = SETTINGS.model_copy(update={"store": store})
    segment(scene, model, tmp_path / "out", settings)
    assert outputs(tmp_path / "out") == whole
    assert not keys(store)


@pytest.mark.slow
def test_a_stopped_job_goes_on_with_the_tiles_of_its_store(store, scene, model, whole, tmp_path):
    settings = SETTINGS.model_copy(update={"store": store})
    assert kept_of_a_stopped_job(store, scene, model, tmp_path / "out")
    assert not (tmp_path / "out" / ".geounet" / "tiles").exists()
    again = StopsAfter(10_000, signal.SIGINT)
    segment(scene, model, tmp_path / "out", settings.model_copy(update={"resume": True}), again)
    assert again.done_before > 0
    assert outputs(tmp_path / "out") == whole


@pytest.mark.slow
@pytest.mark.long
def test_two_jobs_may_share_a_store(store, scene, model, whole, tmp_path):
    kept = kept_of_a_stopped_job(store, scene, model, tmp_path / "a")
    segment(scene, model, tmp_path / "b", SETTINGS.model_copy(update={"store": store}))
    assert outputs(tmp_path / "b") == whole
    assert keys(store) == kept


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_an_output_problem_without_the_keys(
    bucket, scene, model, tmp_path
):
    settings = SETTINGS.model_copy(update={"store": "s3://nowhere/jobs"})
    with pytest.raises(OutputError, match=r"s3://nowhere/jobs\S*: cannot be written") as refused:
        segment(scene, model, tmp_path / "out", settings)
    assert "canary" not in str(refused.value)


def test_an_address_that_nothing_speaks_with_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="--store nothing://x"):
        objects_at("nothing://x")


def test_the_store_lies_at_the_endpoint_that_scenes_are_read_from(canary, monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is missing: pip install 'geounet[s3]'")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_S3_ENDPOINT": f"127.0.0.1:{canary.server_port}",
        "AWS_HTTPS": "NO",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = objects_at("s3://my-bucket/tiles")
    with pytest.raises(OSError, match=r"a-tile|Not Found"):
        store.get("a-tile")
    assert any("/my-bucket/tiles/a-tile" in asked for asked in canary.seen)
