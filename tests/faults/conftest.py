"""What all tests of faults share: one zygote, which forks the commands that they harm."""

from __future__ import annotations

import sys

import pytest

from tests.faults.zygote import Zygote
from tests.jobs import make_scene


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    """Forks commands whose imports are done."""
    if sys.platform != "linux":
        pytest.skip("the zygote counts its threads in /proc, which only Linux has")
    with Zygote(tmp_path_factory.mktemp("zygote")) as running:
        yield running


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """A scene of many tiles, so that a fault meets a job that is on its way."""
    return make_scene(tmp_path_factory.mktemp("scene") / "scene.tif", (150, 197))
