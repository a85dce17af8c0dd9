"""The index of training ground: what it counts is what is there, however it is cut and counted."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from geounet.errors import InputError
from geounet.learn.block_index import BlockIndex, Cells
from geounet.learn.counting import Counted, build_index
from geounet.learn.ground import Chip, Ground
from geounet.learn.labelled import open_labelled
from geounet.learn.slabs import Reader, Slabs, slabs_of
from geounet.learn.splits import grounds_of
from tests.labelled_scenes import CORNER, put, put_scene, settings_for

SIDE = 16


def opened(settings):
    return open_labelled(settings.data, settings.classes)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three scenes of odd sizes far from each other, one of them smaller than a chip."""
    folder = tmp_path_factory.mktemp("index")
    for k, (name, shape) in enumerate({"a": (61, 70), "b": (11, 37), "c": (40, 33)}.items()):
        put_scene(folder, name, shape, seed=k, corner=(CORNER[0] + 5000 * k, CORNER[1]))
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A scene of several slabs: tiled and compressed, 1100 × 1000 pixels."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 512, "compress": "deflate"}
    bands = rng.integers(0, 3000, (2, 1100, 1000)).astype(np.int16)
    put(folder / "images/s.tif", bands, nodata=-999, **layout)
    labels = (rng.random((1, 1100, 1000)) < 0.01).astype(np.uint8)
    put(folder / "labels/s.tif", labels, **layout)
    return folder


@pytest.mark.parametrize(
    "validation", [None, {"scenes": ["c"]}, {"blocks": {"size": 16, "share": 0.2}}]
)
def test_counts_are_those_of_the_pixels_that_crops_may_hold(root, validation):
    settings = settings_for(root, validation)
    scenes = opened(settings)
    grounds = grounds_of(scenes, settings)
    index = build_index(scenes, grounds, Counted(SIDE, 2))
    pixels, learnt, held = [], [], []
    for scene, ground in zip(scenes, grounds, strict=True):
        image, labels = scene.read(scene.grid.whole)
        seen = ground.learnable(scene.grid.whole, SIDE) & np.isfinite(image).all(axis=-1)
        pixels.append(image[seen].astype(float))
        learnt.append(labels[seen])
        held.append(labels[ground.held_out(scene.grid.whole)])
    values, labels = np.concatenate(pixels), np.concatenate(learnt)
    assert index.class_counts == ((labels == 0).sum(), (labels == 1).sum())
    assert index.cells.ignored.sum() == (labels == 255).sum() > 0
    assert index.cells.valid.sum() == len(values)
    assert index.held_counts == tuple((np.concatenate(held) == k).sum() for k in (0, 1))
    assert bool(sum(index.held_counts)) == bool(validation)
    mean, std = index.statistics(["green", "nir"])
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-12)


def test_cells_partition_each_scene_and_none_is_larger_than_a_chip(root):
    settings = settings_for(root)
    scenes = opened(settings)
    index = build_index(scenes, grounds_of(scenes, settings), Counted(SIDE, 2))
    seen = [np.zeros(s.grid.shape, int) for s in scenes]
    for cell, scene in enumerate(index.scene):
        part = seen[scene][index.window(cell)]
        assert max(part.shape) <= SIDE
        assert index.cells.valid[cell] <= part.size
        part += 1
    assert all((s == 1).all() for s in seen)


def test_label_values_are_counted_before_they_are_mapped(root):
    settings = settings_for(root)
    scenes = opened(settings)
    index = build_index(scenes, grounds_of(scenes, settings), Counted(SIDE, 2))
    values = np.concatenate([s.label_values(s.grid.whole).ravel() for s in scenes])
    assert index.values == {v: (values == v).sum() for v in (0, 1, 9)}


def same(one: BlockIndex, other: BlockIndex):
    np.testing.assert_array_equal(one.scene, other.scene)
    for field in fields(Cells):
        np.testing.assert_array_equal(
            getattr(one.cells, field.name), getattr(other.cells, field.name)
        )
    return one.values == other.values and one.digests == other.digests


def test_the_index_does_not_depend_on_threads(large):
    settings = settings_for(large, chip=48)
    scenes = opened(settings)
    grounds = (Ground((1100, 1000), (), ((slice(300, 700), slice(90, 500)),)),)
    runs = [build_index(scenes, grounds, Counted(48, 2)) for _ in range(2)]
    assert same(*runs)
    image, labels = scenes[0].read(scenes[0].grid.whole)
    learnt = grounds[0].learnable(scenes[0].grid.whole, 48)
    assert runs[0].class_counts == tuple((labels[learnt] == k).sum() for k in (0, 1))
    np.testing.assert_allclose(
        runs[0].statistics("ab")[1], image[learnt].astype(float).std(axis=0), rtol=1e-10
    )


@pytest.mark.slow
def test_the_index_does_not_depend_on_processes(large):
    settings = settings_for(large, chip=48)
    scenes = opened(settings)
    grounds = (Ground((1100, 1000)),)
    assert same(*(build_index(scenes, grounds, Counted(48, 2), workers) for workers in (0, 2)))


def test_an_unreadable_part_is_an_input_error_from_the_workers_too(large, tmp_path):
    (tmp_path / "labels").symlink_to(large / "labels")
    (tmp_path / "images").mkdir()
    whole = (large / "images/s.tif").read_bytes()
    (tmp_path / "images/s.tif").write_bytes(whole[: len(whole) // 2])
    scenes = opened(settings_for(tmp_path))
    with pytest.raises(InputError, match=r"s\.tif: .*"):
        build_index(scenes, (Ground((1100, 1000)),), Counted(SIDE, 2))


def index_of(mean, spread, valid) -> BlockIndex:
    mean, spread = (np.asarray(a, float).reshape(len(valid), -1) for a in (mean, spread))
    none = np.zeros((len(valid), 2), int)
    cells = Cells(np.zeros((len(valid), 4), int), none, none, none[:, 0], np.array(valid), mean,
                  spread)  # fmt: skip
    return BlockIndex(np.zeros(len(valid), int), cells, {}, ("",))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 99))
def test_statistics_of_parts_are_those_of_all_pixels(sizes, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(5000, 3, (n, 2)) for n in (*sizes, 2)]
    means = [p.mean(axis=0) if len(p) else np.zeros(2) for p in parts]
    spreads = [((p - m) ** 2).sum(axis=0) for p, m in zip(parts, means, strict=True)]
    mean, std = index_of(means, spreads, [len(p) for p in parts]).statistics(("a", "b"))
    pixels = np.concatenate(parts)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-9)


def test_bands_without_data_or_variation_are_refused():
    with pytest.raises(InputError, match="have no valid pixel"):
        index_of([[0.0]], [[0.0]], [0]).statistics(["green"])
    with pytest.raises(InputError, match="images: nir is the same everywhere"):
        index_of([[1.0, 3.0]], [[2.0, 0.0]], [7]).statistics(["green", "nir"])


def test_content_names_patches_without_a_place(tmp_path):
    for name, seed, crs in (("a", 0, None), ("b", 0, None), ("c", 1, None), ("d", 0, "EPSG:3857")):
        put_scene(tmp_path, name, (20, 30), seed=seed, crs=crs)
    again = put_scene(tmp_path, "b", (20, 30), crs=None)
    put(tmp_path / "images/b.tif", again, crs=None, nodata=-999, compress="lzw", tiled=True,
        blockxsize=16, blockysize=16)  # fmt: skip
    put(tmp_path / "images/e.tif", np.zeros((2, 20, 30), np.int16), crs=None)
    put(tmp_path / "labels/e.tif", np.zeros((1, 20, 30), np.uint8), crs=None)
    settings = settings_for(tmp_path)
    scenes = opened(settings)
    a, b, c, d, e = build_index(scenes, grounds_of(scenes, settings), Counted(SIDE, 2)).digests
    assert a == b != c
    assert (len(a), d, e) == (64, "", "")


@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    start=st.tuples(st.integers(-9, 55), st.integers(-9, 55)),
    extent=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
@example(shape=(10, 10), size=(5, 5), start=(5, -5), extent=(5, 5))
def test_the_slabs_that_meet_a_window_are_those_that_share_a_pixel(shape, size, start, extent):
    slabs = Slabs(shape, size)
    seen = np.zeros(shape, int)
    for slab in slabs.all:
        seen[slab] += 1
    assert (seen == 1).all()
    window = tuple(slice(s, s + e) for s, e in zip(start, extent, strict=True))
    mask = np.zeros((120, 120), bool)
    mask[start[0] + 10 : start[0] + extent[0] + 10, start[1] + 10 : start[1] + extent[1] + 10] = 1
    inside = mask[10 : shape[0] + 10, 10 : shape[1] + 10]
    assert slabs.meeting(window) == [slab for slab in slabs.all if inside[slab].any()]


def test_slabs_are_whole_blocks_of_at_least_a_chip_or_a_small_scene_whole(root, large):
    (scene,) = opened(settings_for(large))
    assert slabs_of(scene, 48).size == (512, 256)
    assert slabs_of(scene, 300).size == (512, 512)
    assert slabs_of(opened(settings_for(root))[0], SIDE).size == (61, 70)


def test_wide_strips_are_cut_into_few_rows(tmp_path):
    wide = np.zeros((1, 300, 70_000), np.uint8)
    put(tmp_path / "images/s.tif", wide, compress="deflate", blockysize=8)
    put(tmp_path / "labels/s.tif", wide[:, :, :], compress="deflate")
    settings = settings_for(tmp_path, data={"bands": {"green": 1}})
    rows, cols = slabs_of(opened(settings)[0], 256).size
    assert cols == 70_000
    assert rows == 64 * 2**20 // (5 * cols) // 8 * 8


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.tuples(st.integers(-20, 1105), st.integers(-20, 1005)), keep=st.booleans())
@example(start=(505, 250), keep=True)
@example(start=(1100, -5), keep=False)
def test_a_chip_read_from_slabs_is_the_window_of_the_scene(reader, start, keep):
    scene, cached = reader
    window = tuple(slice(s, s + 33) for s in start)
    kept = tuple(slice(s + 4, s + 20) for s in start) if keep else None
    image, labels = scene.read(window)
    if keep:
        outside = np.ones((33, 33), bool)
        outside[4:20, 4:20] = False
        labels[outside] = 255
    chip = Chip(0, window, kept)
    np.testing.assert_array_equal(cached.read(chip)[0], image)
    np.testing.assert_array_equal(cached.read(chip)[1], labels)
    np.testing.assert_array_equal(cached.labels(chip), labels)


@pytest.fixture(scope="module")
def reader(large):
    (scene,) = opened(settings_for(large))
    return scene, Reader([scene], 33, cache_mb=4)


def test_the_cache_keeps_to_its_size_and_threads_may_read_at_once(large):
    (scene,) = opened(settings_for(large))
    chips = [
        Chip(0, (slice(row, row + 40), slice(col, col + 40)))
        for row in (0, 500, 1030)
        for col in (0, 250, 500, 760)
    ]
    slab = 512 * 256 * 9
    for megabytes, least in ((0, 0), (10, 8 * 2**20 - slab), (64, 1100 * 1000 * 9)):
        reader = Reader([scene], 33, megabytes)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(reader.read, chips))
        for chip, (image, labels) in zip(chips, found, strict=True):
            expected = scene.read(chip.window)
            np.testing.assert_array_equal(image, expected[0])
            np.testing.assert_array_equal(labels, expected[1])
        held = [*reader._kept.values(), *reader._latest.values()]
        kept = sum(image.nbytes + labels.nbytes for image, labels in held)
        assert least <= kept <= megabytes * 2**20


def test_what_goes_to_workers_is_picklable(root):
    scene = opened(settings_for(root))[0]
    again = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(again.read(scene.grid.whole)[0], scene.read(scene.grid.whole)[0])
