"""What is signed stays secret: no log, error, report, journal or tag holds it. Jobs over https.

Here ``geounet`` runs as a user runs it, with --debug and with GDAL telling all it does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from geounet import cli
from geounet.connections import close_idle, trusted
from geounet.remote_file import forget
from tests.faults.certificates import make_certificate
from tests.faults.fault_server import FaultServer
from tests.jobs import make_model, make_scene, read
from tests.made_scenes import write

SECRETS = ("CANARY-SIGNATURE", "CANARY-USER", "CANARY-WORD", "CANARY-KEY", "CANARY-TOKEN")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder with a scene, a mask and a model, and its server with a certificate."""
    folder = tmp_path_factory.mktemp("served")
    make_scene(folder / "scene.tif", (150, 197))
    make_model(folder / "drawn.safetensors")
    write(folder / "clouds.tif", np.zeros((1, 150, 197), "uint8") + 7)
    tls = make_certificate(folder / "own.pem")
    with FaultServer(folder, tls).running() as server:
        yield server


@pytest.fixture
def geounet(served, monkeypatch, capfd):
    """Runs a command here, with GDAL telling all it does; what came of it and what was printed."""
    for name, value in environment(served).items():
        monkeypatch.setenv(name, value)
    trusted.cache_clear()

    def run(*arguments):
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)

    yield run
    close_idle()
    trusted.cache_clear()


@pytest.fixture
def geounet_alone(served):
    """The same in a process of its own."""

    def run(*arguments):
        command = [sys.executable, "-m", "geounet.cli", *map(str, arguments)]
        own = os.environ | environment(served)
        return subprocess.run(command, env=own, capture_output=True, text=True, check=False)

    return run


def environment(served):
    return {
        "CPL_DEBUG": "ON",
        "CPL_CURL_VERBOSE": "YES",
        "GDAL_NUM_THREADS": "2",
        "SSL_CERT_FILE": str(served.folder / "own.pem"),
        "AWS_ACCESS_KEY_ID": "CANARY-KEY",
        "AWS_SECRET_ACCESS_KEY": "CANARY-KEY",
        "AWS_SESSION_TOKEN": "CANARY-TOKEN",
    }


def signed(served, mode, name):
    user = "CANARY-USER:CANARY-WORD@"
    return served.address(mode, name, user) + "?sig=CANARY-SIGNATURE&X-Amz-Signature=CANARY-KEY"


def job(geounet, served, mode, out, *more):
    model = served.folder / "drawn.safetensors"
    scene = signed(served, mode, "scene.tif")
    usual = ("--model", model, "--window", 64, "--allow-private", "--debug")
    return geounet("segment", scene, out, *usual, *more)


def refuse_secrets(done, *folders):
    """No secret in what was printed, nor in any file of the folders."""
    held = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    held |= {str(f): f.read_bytes() for d in folders for f in d.rglob("*") if f.is_file()}
    found = [(where, s) for where, data in held.items() for s in SECRETS if s.encode() in data]
    assert not found
    return len(held)


@pytest.mark.slow
def test_a_signed_https_scene_is_mapped_like_the_local_file_and_tells_no_secret(
    geounet, served, tmp_path
):
    mask = f"{signed(served, 'ok', 'clouds.tif')}:values=3"
    kept = ("--mask", mask, "--keep-work", "--confidence", "--format", "shp", "--format", "geojson")
    done = job(geounet, served, "ok", tmp_path / "far", *kept)
    assert done.returncode == 0, done.stderr
    assert "GDALOpen(" in done.stderr
    assert refuse_secrets(done, tmp_path) > 10
    model = served.folder / "drawn.safetensors"
    where = (served.folder / "scene.tif", tmp_path / "near")
    near = geounet("segment", *where, "--model", model, "--window", 64, "--format", "none")
    assert near.returncode == 0, near.stderr
    ours, theirs = (read(tmp_path / out / "mask.tif") for out in ("far", "near"))
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(ours)) > 2


@pytest.mark.slow
def test_a_job_that_breaks_tells_no_secret_and_a_resume_goes_on(geounet, served, tmp_path):
    break_and_resume(geounet, served, tmp_path)


@pytest.mark.slow
def test_a_worker_that_breaks_tells_no_secret(geounet_alone, served, tmp_path):
    break_and_resume(geounet_alone, served, tmp_path, "--workers", 1)


def break_and_resume(geounet, served, folder, *more):
    served.seen.clear()
    out = folder / "out"
    forget(signed(served, "2-drop", "scene.tif"))
    usual = (*more, "--format", "none")
    broken = job(geounet, served, "2-drop", out, "--read-deadline", 1.2, *usual)
    assert broken.returncode == 3, broken.stderr
    assert re.search(r"scene\.tif: rows .* cannot be read: the connection broke", broken.stderr)
    refuse_secrets(broken, folder)
    assert not (out / "mask.tif").exists()
    served.tag = '"2"'
    changed = job(geounet, served, "ok", out, "--resume", *usual)
    served.tag = '"1"'
    assert changed.returncode == 2, changed.stderr
    assert "scene.files" in changed.stderr
    refuse_secrets(changed, folder)
    forget(signed(served, "ok", "scene.tif"))
    done = job(geounet, served, "ok", out, "--resume", *usual)
    assert done.returncode == 0, done.stderr
    refuse_secrets(done, folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "{}", "--allow-private", "--mask", "{}"),
        ("inspect", "{}", "--sensor", "{}"),
        ("inspect", "{}", "{}", "--no-such-flag", "{}"),
        ("inspect", "{}\n"),
        ("inspect", "{}"),
        ("segment", "{}", "{}", "{}/out", "--model", "water"),
        ("vectorize", "{}", "out.gpkg"),
        ("segment", "{}", "out", "--model", "water", "--aoi", "{}", "--allow-private"),
        ("segment", "{}", "out", "--model", "{}", "--allow-private"),
    ],
)
def test_no_refusal_tells_a_secret(arguments, geounet, served, monkeypatch):
    monkeypatch.chdir(served.folder)
    address = signed(served, "ok", "scene.tif")
    done = geounet(*(argument.format(address) for argument in arguments))
    assert done.returncode in (2, 3, 4, 5, 6), done.stderr
    refuse_secrets(done)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:pa/hunter2@host.example/x.tif",
        "https://user:hunter2/pa@host.example/x.tif",
        "https://user:hunter2?pa@host.example/x.tif",
        "https://user:pa#hunter2@host.example/x.tif",
        "https:/user:hunter2@host.example/x.tif",
        "s3://user:hun/ter2@bucket/x.tif",
    ],
)
def test_a_password_that_was_not_escaped_is_not_shown(address, capsys):
    """G9: a slash that should have been %2F ends the host's part, and the password's."""
    assert cli.run(["inspect", address, "--debug"]) == 3
    said = capsys.readouterr().err
    assert "x.tif: " in said
    assert not re.search("user:|hun|ter2", said), said
