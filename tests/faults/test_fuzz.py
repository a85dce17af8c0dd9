"""200 mutated GeoTIFFs and 200 mutated models end in a map or in one line: exit 0, 3 or 6.

Each goes through the command in a child process that may take 4 GB and 60 s: a hang ends with
SIGALRM, a bomb with MemoryError, and both would be seen. To try others: GEOUNET_FUZZ_SEED=1000.
"""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
import yaml

from tests.faults.mutations import MODEL, TIFF, mutated, parts_of
from tests.jobs import make_model, smooth
from tests.made_scenes import UTM33, north_up, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FIRST = int(os.environ.get("GEOUNET_FUZZ_SEED", "0"))
COUNT, PART = 200, 20
BOUNDS = {"limits": {"RLIMIT_DATA": 4 << 30, "RLIMIT_CORE": 0}, "seconds": 60}
LARGE = 100_000
"""Pixels; the scenes have 2,000."""
BLOCKS = {"tiled": True, "blockxsize": 16, "blockysize": 16}
LAYOUTS = (
    {"tiled": False, "blockysize": 7},
    {**BLOCKS, "compress": "deflate"},
    {**BLOCKS, "compress": "lzw", "predictor": 2, "interleave": "pixel"},
    {"tiled": False, "compress": "zstd", "interleave": "band"},
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """The bytes of small scenes, one for each layout."""
    folder = tmp_path_factory.mktemp("scenes")
    bands = np.stack([smooth((40, 50), k) for k in range(3)])
    about = {"transform": north_up(10), "crs": UTM33, "nodata": 0}
    names = ("blue", "green", "red")
    found = []
    for k, layout in enumerate(LAYOUTS):
        path = folder / f"{k}.tif"
        write(path, bands, **about, **layout, descriptions=names)
        found.append(path.read_bytes())
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("network") / "drawn.safetensors", depth=1)


def assert_civil(child, what, codes):
    """An exit code that was promised, one line, and no way through the program."""
    assert child.returncode in codes, (what, child.returncode, child.errors)
    assert "Traceback" not in child.errors, (what, child.errors)
    if child.returncode:
        said = [line for line in child.errors.splitlines() if line.startswith("geounet: ")]
        assert len(said) == 1, (what, child.errors)


def pixels_of(child):
    """Of a scene, as ``inspect --yaml`` printed it."""
    found = yaml.safe_load(child.printed)
    return found["rows"] * found["columns"]


def says_the_same(data, network):
    """A mutation may put back what was there: a number by itself, spaces in the card."""
    try:
        header, tensors = parts_of(data)
        card = json.loads(header["__metadata__"].pop("geounet"))
        before, same = parts_of(network.read_bytes())
        known = json.loads(before["__metadata__"].pop("geounet"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        return False
    return (header, tensors, card) == (before, same, known)


PARTS = range(COUNT // PART)


@pytest.mark.parametrize("part", PARTS)
def test_mutated_scenes_give_a_map_or_one_line(part, zygote, scenes, network, tmp_path):
    for seed in range(FIRST + part * PART, FIRST + (part + 1) * PART):
        kind, data = mutated(seed, scenes[seed % len(scenes)], TIFF)
        scene, out = tmp_path / f"{seed}.tif", tmp_path / f"{seed}"
        scene.write_bytes(data)
        child = zygote.run(["inspect", scene, "--yaml"], **BOUNDS)
        assert_civil(child, (seed, kind), (0, 3))
        table = zygote.run(["inspect", scene], **BOUNDS)
        assert_civil(table, (seed, kind), (child.returncode,))
        if child.returncode:
            continue
        tokens = ["segment", scene, out, "--model", network, "--window", "32", "--format", "none"]
        # A height of 65,535 is no fault, and takes its time.
        flags = ["--dry-run"] if pixels_of(child) > LARGE else ["--quiet"]
        child = zygote.run([*tokens, *flags], **BOUNDS)
        assert_civil(child, (seed, kind), (0, 3, 6))
        assert (out / "mask.tif").exists() == (child.returncode == 0 and "--quiet" in flags)


@pytest.mark.parametrize("part", PARTS)
def test_mutated_models_are_refused_in_one_line(part, zygote, network, tmp_path):
    for seed in range(FIRST + part * PART, FIRST + (part + 1) * PART):
        kind, data = mutated(seed, network.read_bytes(), MODEL)
        model = tmp_path / f"{seed}.safetensors"
        model.write_bytes(data)
        child = zygote.run(["models", "show", model], **BOUNDS)
        assert_civil(child, (seed, kind), (0,) if says_the_same(data, network) else (6,))
