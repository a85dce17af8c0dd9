"""s3:// against a server of S3's protocol on this machine that checks signatures and policies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from geounet import cli, s3
from geounet.connections import close_idle
from geounet.errors import InputError
from geounet.remote_file import forget
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from geounet.transfer_error import TransferError
from tests.jobs import make_scene

pytest.importorskip("moto", reason="moto, of the dev extra, is the S3 server")
SECRET = "CANARY-SECRET"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("s3") / "scene.tif", (150, 197))


@pytest.fixture(scope="module")
def bucket(scene):
    """Keys of a user who may read the bucket ``maps`` and no other, and the server's place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}", _prepare(f"http://127.0.0.1:{port}", scene)
    finally:
        server.terminate()
        server.wait()


def _wait_for(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the S3 server did not start")


def _prepare(endpoint, scene):
    """Two buckets with the scene, and keys that open one of them."""
    import boto3

    keys = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
    store, users = (
        boto3.client(what, endpoint_url=endpoint, region_name="us-east-1", **keys)
        for what in ("s3", "iam")
    )
    for name in ("maps", "closed"):
        store.create_bucket(Bucket=name)
        store.put_object(Bucket=name, Key="a b/scene.tif", Body=scene.read_bytes())
    users.create_user(UserName="analyst")
    allowed = {
        "Effect": "Allow",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::maps*", "arn:aws:s3:::no-*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    users.put_user_policy(UserName="analyst", PolicyName="p", PolicyDocument=policy)
    made = users.create_access_key(UserName="analyst")["AccessKey"]
    strictly = {"Content-Type": "text/plain"}
    from_now_on = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", strictly)
    urllib.request.urlopen(from_now_on).close()
    return made["AccessKeyId"], made["SecretAccessKey"]


@pytest.fixture
def keys(bucket, monkeypatch, tmp_path):
    """The environment of a user with working keys; a function that sets others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    place, (known, secret) = bucket
    monkeypatch.setenv("AWS_S3_ENDPOINT", place)
    monkeypatch.setenv("AWS_HTTPS", "NO")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def use(key=known, word=secret):
        s3.forget_keys()
        forget("s3://maps/a b/scene.tif")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", word)

    use()
    yield use
    s3.forget_keys()
    close_idle()


def read(address):
    opened = open_scene(address, SceneOptions(read_deadline=2))
    return opened.read(opened.grid.whole)


def test_a_scene_in_a_bucket_is_the_local_one_bit_for_bit(keys, scene):
    ours, theirs = read("s3://maps/a b/scene.tif"), read(scene)
    np.testing.assert_array_equal(ours.bands, theirs.bands)
    np.testing.assert_array_equal(ours.valid, theirs.valid)


@pytest.mark.parametrize(
    ("address", "key", "message"),
    [
        ("s3://maps/none.tif", {}, "the bucket holds no such file .404 NoSuchKey.; check the path"),
        ("s3://no-such/x.tif", {}, "the bucket does not exist .404 NoSuchBucket.; check the name"),
        ("s3://closed/a b/scene.tif", {}, "access is denied .403 AccessDenied.; ask the owner of"),
        ("s3://maps/a b/scene.tif", {"word": SECRET}, "the secret key does not belong to the acc"),
        ("s3://maps/a b/scene.tif", {"key": SECRET}, "the access key is not known .403 InvalidAcc"),
    ],
)
def test_each_refusal_has_its_own_message_without_a_secret(address, key, message, keys, capfd):
    keys(**key)
    with pytest.raises(InputError, match=rf"{address}: cannot be read: {message}"):
        read(address)
    assert cli.run(["inspect", address, "--debug"]) == 3
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in printed.out + printed.err


def test_without_keys_the_ways_to_have_some_are_named(keys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="there are no AWS keys; set AWS_ACCESS_KEY_ID and"):
        read("s3://maps/a b/scene.tif")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match=r"the AWS keys cannot be had \(ProfileNotFound\); sign"):
        read("s3://maps/a b/scene.tif")


def test_a_public_bucket_is_asked_without_a_signature(monkeypatch):
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert s3.signature("s3://b/k", {}) == {"x-amz-request-payer": "requester"}


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "https://maps.s3.us-east-1.amazonaws.com/a%20b/%E6%B0%B4.tif"),
        (
            {"AWS_REGION": "eu-central-1"},
            "https://maps.s3.eu-central-1.amazonaws.com/a%20b/%E6%B0%B4.tif",
        ),
        (
            {"AWS_S3_ENDPOINT": "s3.example:9000"},
            "https://s3.example:9000/maps/a%20b/%E6%B0%B4.tif",
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "http://s3.example/"},
            "http://s3.example/maps/a%20b/%E6%B0%B4.tif",
        ),
        (
            {"AWS_S3_ENDPOINT": "s3.example", "AWS_VIRTUAL_HOSTING": "TRUE", "AWS_HTTPS": "NO"},
            "http://maps.s3.example/a%20b/%E6%B0%B4.tif",
        ),
    ],
)
def test_the_address_of_a_bucket_is_that_of_gdal_and_the_aws_tools(settings, url, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert s3.url_of("s3://maps/a b/水.tif") == url


def test_want_of_botocore_is_said_with_the_way_out(keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(TransferError, match="s3:// needs the package botocore"):
        s3.signature("s3://maps/x.tif", {})
