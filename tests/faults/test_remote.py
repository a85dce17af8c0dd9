"""Remote scenes: bit for bit the local file, or an error that names it; never zeros.

The server breaks for real; see fault_server.py for what each mode does.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from threading import Thread, Timer

import numpy as np
import pytest

from geounet.connections import Answer, close_idle, trusted
from geounet.errors import InputError
from geounet.locations import is_outside, locate
from geounet.refusals import refusal
from geounet.remote_file import forget
from geounet.retries import repeated, with_deadline
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from geounet.transfer import _checked, redirected
from geounet.transfer_error import TransferError
from tests.faults.certificates import make_certificate
from tests.faults.fault_server import FaultServer
from tests.faults.proxy import Proxy
from tests.jobs import smooth
from tests.made_scenes import UTM33, north_up, write

DEADLINE = 1.2
HEALING = ("ok", "503-1", "2-half503", "429-1", "halfdrop", "2-halfcut", "redirect", "expiring")
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

REFUSED = {
    "404": r"the server has no such file \(404\); check the address",
    "403": r"the server refuses it \(403 AccessDenied\); a signed address may have run out",
    "norange": "the server sends the whole file where a part was asked for; download the file fi",
    "loop": "is redirected more than 5 times; give the address where it ends",
    "moved": r"is redirected to http://169\.254\.169\.254/latest/meta-data/\S+, which is not op",
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


@pytest.mark.parametrize("mode", ["garbage", "2-garbage"])
def test_bytes_that_are_no_image_are_asked_for_again_and_then_refused(mode, server):
    with pytest.raises(InputError, match=rf"/{mode}/deflate\.tif: .*cannot be (read|opened as)"):
        read_remote(server, mode, "deflate.tif")
    assert len(server.requests) <= 20
    ours = read_remote(server, f"{mode}-{2 if mode == 'garbage' else 3}", "deflate.tif")
    np.testing.assert_array_equal(ours.bands, read(server.folder / "deflate.tif").bands)


@pytest.mark.parametrize("mode", REFUSED)
def test_what_no_retry_can_help_is_said_at_once(mode, server):
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"/{mode}/none\.tif: cannot be read: {REFUSED[mode]}"):
        read_remote(server, mode, "none.tif")
    assert time.monotonic() - started < 1
    assert len(server.requests) == (6 if mode == "loop" else 1)


@pytest.mark.parametrize("mode", ["2-swap", "2-truncate"])
def test_a_file_that_is_replaced_while_it_is_read_is_an_error(mode, name, server):
    with pytest.raises(InputError, match=r"rows 0–300, .*the file was replaced by another while"):
        read_remote(server, mode, name)
    scene = open_scene(server.address("ok", name), SceneOptions(allow_private=True))
    forget(scene.files[0])
    server.tag = '"2"'
    try:
        with pytest.raises(InputError, match="the file was replaced by another while it was read"):
            scene.read(scene.grid.whole)
        forget(scene.files[0])
        later = open_scene(server.address("ok", name), SceneOptions(allow_private=True))
    finally:
        server.tag = '"1"'
    assert later.fingerprint()["files"][0]["tag"] == '"2"'
    assert later.fingerprint() != scene.fingerprint()


def test_a_block_is_asked_for_once_and_little_more_than_it_is(server):
    address = server.address("ok", "deflate.tif")
    forget(address)
    server.requests.clear()
    scene = open_scene(address, SceneOptions(allow_private=True))
    corner = (slice(0, 64), slice(0, 64))
    scene.read(corner)
    asked = len(server.requests)
    scene.read(corner)
    assert len(server.requests) == asked <= 3


ALLOWED = "is an address inside this machine or network, which is not opened; download the file"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.0.0.1", "[::ffff:10.0.0.1]"])
def test_private_addresses_are_refused_however_they_are_written(host, server):
    server.requests.clear()
    with pytest.raises(InputError, match=ALLOWED):
        open_scene(f"https://{host}:{server.server_port}/ok/none.tif")
    assert not server.requests


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("8.8.8.8", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("2001:4860:4860::8888", True),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_addresses_of_the_internet_are_outside(address, outside):
    assert is_outside(address) is outside


@pytest.mark.parametrize(
    "target",
    [
        "https://10.0.0.1/x.tif",
        "http://a.example/x.tif",
        "file:///etc/passwd",
        "s3://b/k",
        "http://[::1",
    ],
)
def test_no_redirect_leads_where_an_address_may_not(target):
    with pytest.raises(TransferError, match=r"is redirected to .* which is not opened"):
        redirected("https://a.example/scene.tif", target, allow_private=False)


def test_plain_http_is_for_this_machine_only(server):
    for address in ("http://a.example/x.tif", server.address("ok", "none.tif")):
        with pytest.raises(InputError, match="only local files, https:// and s3:// are opened"):
            open_scene(address)
    with pytest.raises(InputError, match="only local files, https:// and s3:// are opened"):
        locate("http://a.example/x.tif", allow_private=True)


def test_https_is_trusted_only_with_a_certificate_that_is(server, tmp_path, monkeypatch):
    tls = make_certificate(tmp_path / "own.pem")
    with FaultServer(server.folder, tls).running() as encrypted:
        address = encrypted.address("ok", "none.tif", "user:a%20word@")
        trusted.cache_clear()
        with pytest.raises(InputError, match=r"the certificate of 127\.0\.0\.1 is not trusted"):
            read(address, allow_private=True)
        assert not encrypted.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
        trusted.cache_clear()
        ours = read(address, allow_private=True)
        close_idle()
    trusted.cache_clear()
    np.testing.assert_array_equal(ours.bands, read(server.folder / "none.tif").bands)
    assert {sent["Authorization"] for sent in encrypted.headers} == {"Basic dXNlcjphIHdvcmQ="}


def test_a_password_goes_only_where_it_belongs(server, tmp_path):
    with FaultServer(server.folder).running() as other:
        server.elsewhere = other.address("ok", "")
        server.headers.clear()
        read(server.address("moved", "none.tif", "user:word@"), allow_private=True)
        close_idle()
    assert all("Authorization" in sent for sent in server.headers)
    assert not any("Authorization" in sent for sent in other.headers)


def test_names_of_no_host_and_ports_that_are_closed_are_named(server):
    with pytest.raises(InputError, match=r"the name nowhere\.invalid cannot be looked up"):
        open_scene("https://nowhere.invalid/x.tif")
    with pytest.raises(InputError, match=r"is an address inside|is no valid address"):
        open_scene("https://[::1/x.tif")
    with pytest.raises(InputError, match=r"connection broke off \(Connection refused\); given up"):
        read("http://127.0.0.1:9/x.tif", allow_private=True, read_deadline=0.4)


def test_a_jpeg_2000_is_read_like_the_local_file(server):
    bands = np.stack([smooth((100, 90), seed) for seed in range(2)])
    write(server.folder / "image.jp2", bands, transform=north_up(10), driver="JP2OpenJPEG")
    ours = read_remote(server, "halfdrop", "image.jp2")
    np.testing.assert_array_equal(ours.bands, read(server.folder / "image.jp2").bands)


def test_bands_and_masks_of_a_scene_file_may_be_addresses(server, tmp_path):
    near = server.folder / "none.tif"
    for place, allow in ((near, False), (server.address("ok", "none.tif"), True)):
        text = f"scale: 1\noffset: 0\nmask: ['{place}:values=1500']\nbands: {{red: '{place}'}}\n"
        (tmp_path / "scene.yaml").write_text(text)
        found = read(tmp_path / "scene.yaml", allow_private=allow)
        theirs = read(near)
        np.testing.assert_array_equal(found.bands[..., 0], theirs.bands[..., 0])
        np.testing.assert_array_equal(found.hidden, theirs.bands[..., 0] == 1500)
    with pytest.raises(InputError, match="only local files, https:// and s3:// are opened"):
        read(tmp_path / "scene.yaml")
    by_flag = read(near, allow_private=True, bands={"far": f"{server.address('ok', 'none.tif')}:2"})
    np.testing.assert_array_equal(by_flag.bands[..., -1], theirs.bands[..., 1])


def test_tries_are_bounded_by_number_and_by_time():
    now, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    def fails(left, **how):
        now[0] += 1
        raise TransferError("broken", "mend it", **how)

    def tried(deadline, **how):
        now[0] = 0.0
        pauses.clear()
        with pytest.raises(TransferError) as caught:
            with_deadline(lambda left: fails(left, **how), deadline, lambda: now[0], sleep)
        return caught.value.cause

    assert "broken; given up after 6 tries in 2" in tried(1000, again=True)
    assert len(pauses) == 5
    assert all(0.5 * 2**k <= pause <= 0.625 * 2**k for k, pause in enumerate(pauses))
    assert "2 tries" in tried(3, again=True)
    assert now[0] <= 3
    assert "1 try" in tried(30, again=True, pause=29.5)
    tried(1000, again=True, pause=7)
    assert min(pauses) >= 7
    assert tried(1000) == "broken"


def test_a_local_file_is_tried_once_more_and_a_bug_never(tmp_path):
    content = Path(write(tmp_path / "a.tif", np.ones((1, 8, 9), "uint8")))
    whole = content.read_bytes()
    content.write_bytes(b"II*\0")
    mended = Timer(0.03, lambda: content.write_bytes(whole))
    mended.start()
    opened = open_scene(content)
    mended.join()
    assert opened.read(opened.grid.whole).valid.all()

    def bug():
        calls.append(1)
        raise KeyError

    calls = []
    with pytest.raises(KeyError):
        repeated(bug, (0.0,), (OSError,))
    assert len(calls) == 1


def test_many_threads_read_what_one_does(server):
    address = server.address("halfdrop", "deflate.tif")
    forget(address)
    scene = open_scene(address, SceneOptions(allow_private=True))
    whole = read(server.folder / "deflate.tif").bands
    places = [(slice(r, r + 90), slice(c, c + 90)) for r in (0, 70, 210) for c in range(0, 330, 30)]
    with ThreadPoolExecutor(8) as pool:
        for place, found in zip(places, pool.map(scene.read, places), strict=True):
            np.testing.assert_array_equal(found.bands, whole[place])


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    tls = make_certificate(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    monkeypatch.setenv("no_proxy", "")
    trusted.cache_clear()
    with Proxy() as proxy, FaultServer(server.folder, tls).running() as encrypted:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://me:w%20rd@127.0.0.1:{proxy.server_port}")
        ours = read(encrypted.address("ok", "none.tif"), allow_private=True)
        with pytest.raises(InputError, match=ALLOWED):
            read(f"https://127.1:{encrypted.server_port}/ok/none.tif")
        close_idle()
        proxy.shutdown()
        thread.join()
    trusted.cache_clear()
    np.testing.assert_array_equal(ours.bands, read(server.folder / "none.tif").bands)
    assert set(proxy.asked) == {(f"127.0.0.1:{encrypted.server_port}", "Basic bWU6dyByZA==")}


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("7", 7),
        ("-5", 0),
        ("soon", 0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", 0),
        ("9" * 400, 999_999_999),
    ],
)
def test_a_pause_that_makes_no_sense_is_none(wish, seconds):
    headers = Message()
    headers["Retry-After"] = wish
    assert refusal("https://a.example/x.tif", Answer(503, headers, b""), 0).pause == seconds


@pytest.mark.parametrize("encoding", [None, "identity", "Identity", ""])
def test_a_part_that_is_said_not_to_be_encoded_is_taken(encoding):
    headers = Message()
    headers["Content-Range"] = "bytes 0-3/9"
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    answer = Answer(206, headers, b"abcd")
    assert _checked("https://a.example/x.tif", answer, 0, 4)[0] == b"abcd"


@pytest.mark.parametrize(
    ("part", "encoding"),
    [("bytes 0-3/" + "9" * 5000, ""), ("bytes 0-3/*", ""), ("bytes 0-3/9", "gzip")],
)
def test_a_part_that_is_not_plainly_told_is_refused(part, encoding):
    headers = Message()
    headers["Content-Range"], headers["Content-Encoding"] = part, encoding
    with pytest.raises(TransferError, match="does not say which part of the file it sends"):
        _checked("https://a.example/x.tif", Answer(206, headers, b"abcd"), 0, 4)
