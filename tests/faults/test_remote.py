"""Remote scenes: bit for bit the local file, or an error that names it; never zeros.

The server breaks for real; see fault_server.py for what each mode does.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from geounet.errors import InputError
from geounet.remote_file import forget
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from tests.faults.fault_server import FaultServer
from tests.jobs import smooth
from tests.made_scenes import UTM33, north_up, write

DEADLINE = 1.2
HEALING = ("ok", "503-1", "2-half503", "429-1", "halfdrop", "2-halfcut", "redirect")
BROKEN = {
    "503": r"the server is overloaded or broken \(503\); given up after \d tries in \d s; run the",
    "429long": r"\(429\), and asks for a pause of 900 s; given up after 1 try",
    "drop": r"the connection broke off \(RemoteDisconnected\); given up after \d tries",
    "cut": r"the transfer was cut after [\d,]+ of [\d,]+ bytes; given up after \d tries",
    "hang": r"the server does not answer in time; given up after 1 try in 1 s",
    "drip": r"the server does not answer in time; given up after 1 try in 1 s",
    "closingdrip": r"the server does not answer in time; given up after 1 try in 1 s",
    "other": "the server sends another part than was asked for",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    bands = np.stack([smooth((300, 420), seed) for seed in range(3)])
    for compress in ("none", "deflate"):
        options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": compress}
        write(
            folder / f"{compress}.tif",
            bands,
            transform=north_up(10),
            crs=UTM33,
            nodata=0,
            interleave="pixel",
            **options,
        )
    with FaultServer(folder).running() as running:
        yield running


@pytest.fixture(params=["none", "deflate"])
def name(request):
    return f"{request.param}.tif"


def read(place, **options):
    scene = open_scene(place, SceneOptions(**options))
    return scene.read(scene.grid.whole)


def read_remote(server, mode, name):
    """The scene, and the number of requests that it took."""
    address = server.address(mode, name)
    forget(address)
    server.seen.clear()
    server.requests.clear()
    return read(address, allow_private=True, read_deadline=DEADLINE)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("mode", HEALING)
def test_a_transfer_that_heals_gives_the_local_file_bit_for_bit(
    mode, threads, name, server, monkeypatch
):
    monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    ours, theirs = read_remote(server, mode, name), read(server.folder / name)
    np.testing.assert_array_equal(ours.bands, theirs.bands)
    np.testing.assert_array_equal(ours.valid, theirs.valid)
    size = (server.folder / name).stat().st_size
    assert len(server.requests) <= 2 * (size // 65536 + 2)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mode", BROKEN)
def test_a_transfer_that_stays_broken_ends_in_an_error_by_the_deadline(mode, late, name, server):
    started = time.monotonic()
    mode, message = f"2-{mode}" if late else mode, BROKEN[mode]
    where = "rows 0–300, columns 0–420 of the scene cannot be read: " if late else "cannot be read:"
    with pytest.raises(InputError, match=rf"/{mode}/{name}: {where}.*{message}") as caught:
        read_remote(server, mode, name)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < DEADLINE + 1.5
    assert len(server.requests) <= 8 + 2 * late
