"""What training is given: everything is checked before the first step, and batches repeat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geounet.errors import InputError
from geounet.learn.training_data import load_training_data
from tests.labelled_scenes import CORNER, put, put_scene, put_table, settings_for

SHAPES = {"a": (40, 50), "b": (33, 37), "c": (20, 37)}


@pytest.fixture
def root(tmp_path):
    for k, (name, shape) in enumerate(SHAPES.items()):
        put_scene(tmp_path, name, shape, seed=k, corner=(CORNER[0] + 5000 * k, CORNER[1]))
    put_table(tmp_path, {"a": "x", "b": "y", "c": "x"})
    return tmp_path


def relabel(root, name, labels):
    k = list(SHAPES).index(name)
    array = np.broadcast_to(np.asarray(labels, np.uint8), (1, *SHAPES[name])).copy()
    put(root / f"labels/{name}.tif", array, corner=(CORNER[0] + 5000 * k, CORNER[1]))


@pytest.mark.parametrize("kind", ["every", "random", "balanced"])
def test_batches_repeat_whatever_was_read_before_and_by_which_thread(root, kind):
    settings = settings_for(root, {"scenes": ["c"]}, sampling={"kind": kind}, cache_mb=0)
    data = load_training_data(settings)
    wanted = [(e, i) for e in (0, 1) for i in range(data.steps)]
    batches = [data.batch(*at) for at in wanted]
    again = load_training_data(settings.model_copy(update={"cache_mb": 64}))
    with ThreadPoolExecutor(3) as pool:
        others = list(pool.map(lambda at: again.batch(*at), reversed(wanted)))
    for (images, labels), (images2, labels2) in zip(batches, reversed(others), strict=True):
        assert images.shape == (4, 16, 16, 2)
        assert images.dtype == np.float32
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(images, images2)
        np.testing.assert_array_equal(labels, labels2)
    assert not np.array_equal(batches[0][0], batches[data.steps][0])


def test_validation_and_statistics_are_those_of_their_own_scenes(root):
    settings = settings_for(root, {"column": "place", "values": ["y"]}, "table.csv")
    data = load_training_data(settings)
    assert data.validation_areas == {1: ((slice(0, 33), slice(0, 37)),)}
    (_, held, _) = data.scenes
    labels = held.read(held.grid.whole)[1]
    counted = np.zeros(2, int)
    for k in range(len(data.validation)):
        image, chip_labels = data.validation[k]
        assert image.shape == (16, 16, 2)
        counted += [(chip_labels == c).sum() for c in (0, 1)]
    assert tuple(counted) == tuple((labels == c).sum() for c in (0, 1))
    pixels = [s.read(s.grid.whole) for s in (data.scenes[0], data.scenes[2])]
    numbers = np.concatenate([x[np.isfinite(x).all(axis=-1)] for x, _ in pixels]).astype(float)
    np.testing.assert_allclose(data.mean, numbers.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(data.std, numbers.std(axis=0), rtol=1e-6)
    assert data.class_counts == tuple(sum((y == c).sum() for _, y in pixels) for c in (0, 1))


def test_training_never_shows_a_pixel_near_validation_blocks(root):
    blocks = {"blocks": {"size": 16, "share": 0.2}, "seed": 2}
    for kind in ("every", "balanced"):
        data = load_training_data(settings_for(root, blocks, sampling={"kind": kind}))
        held = {}
        for scene, areas in data.validation_areas.items():
            image = data.scenes[scene].read(data.scenes[scene].grid.whole)[0]
            for rows, cols in areas:
                part = image[max(rows.start - 9, 0) : rows.stop + 9,
                             max(cols.start - 9, 0) : cols.stop + 9]  # fmt: skip
                held |= dict.fromkeys(map(bytes, part.reshape(-1, 2)))
        shown = set()
        for i in range(data.steps):
            images, _ = data.batch(0, i)
            shown |= set(map(bytes, images[np.isfinite(images).all(axis=-1)]))
        # Numbers are noise of 3200² values: hardly any pair of pixels is equal by chance.
        assert len(shown & held.keys()) <= 2
        assert len(shown) > 500


def test_without_validation_everything_is_learnt_from(root):
    data = load_training_data(settings_for(root))
    assert len(data.validation) == 0
    assert data.validation_areas == {}
    assert data.steps == -(-(3 * 4 + 3 * 3 + 2 * 3) // 4)


def test_unknown_labels_are_refused(root):
    labels = np.zeros(SHAPES["b"], np.uint8)
    labels[3, 4:9] = 77
    relabel(root, "b", labels)
    with pytest.raises(InputError, match=r"labels that are no class: 77 \(5 pixels\)"):
        load_training_data(settings_for(root))


def test_overlaps_and_copies_are_refused(root):
    put_scene(root, "d", (30, 30), seed=9, corner=CORNER)
    with pytest.raises(InputError, match=r"a \(training\) and d \(validation\) overlap"):
        load_training_data(settings_for(root, {"scenes": ["d"]}))
    for name in "de":
        put_scene(root, name, (30, 30), seed=9, crs=None)
    with pytest.raises(InputError, match=r"e \(training\) and d \(validation\) hold the same"):
        load_training_data(settings_for(root, {"scenes": ["d"]}))


def test_a_side_without_labels_is_refused(root):
    held = {"scenes": ["b"]}
    relabel(root, "b", 9)
    with pytest.raises(InputError, match="validation has no labelled pixel"):
        load_training_data(settings_for(root, held))
    for name in "ac":
        relabel(root, name, 9)
    with pytest.raises(InputError, match=r"no labelled pixel with image data .* hold out less"):
        load_training_data(settings_for(root, held))
    with pytest.raises(InputError, match=r"left to learn from; check labels, data\.remap and"):
        load_training_data(settings_for(root))


def test_blocks_whose_buffer_leaves_no_ground_are_refused(root):
    blocks = {"blocks": {"size": 16, "share": 0.6, "buffer": 60}}
    with pytest.raises(InputError, match=r"no labelled pixel .* outside validation and its buffer"):
        load_training_data(settings_for(root, blocks))


def test_a_class_that_training_never_sees_is_refused(root):
    with pytest.raises(InputError, match=r"no training pixel is labelled class 2 \(value 2\)"):
        load_training_data(settings_for(root, classes=3))
    labels = np.zeros(SHAPES["b"], np.uint8)
    labels[5] = 2
    relabel(root, "b", labels)
    load_training_data(settings_for(root, classes=3))
    with pytest.raises(InputError, match="no training pixel is labelled class 2"):
        load_training_data(settings_for(root, {"scenes": ["b"]}, classes=3))


def test_rare_classes_and_classes_without_a_score_are_told(root):
    labels = np.zeros(SHAPES["b"], np.uint8)
    labels[5, :3] = 2
    relabel(root, "b", labels)
    settings = settings_for(root, {"scenes": ["c"]}, classes=3)
    unscored, rare = load_training_data(settings).notes
    assert "class 2 has 0.09" in rare
    assert "sampling.kind balanced" in rare
    assert unscored == "class class 2 is not in validation: it gets no score"
    balanced = settings_for(root, {"scenes": ["c"]}, classes=3, sampling={"kind": "balanced"})
    assert load_training_data(balanced).notes == (unscored,)


def test_a_note_of_many_scenes_is_said_once(root):
    notes = load_training_data(settings_for(root, data={"scale": None})).notes
    assert len(notes) == 1
    assert notes[0].startswith("a and 2 more: ")


def test_a_chip_that_is_mostly_padding_is_told_with_a_size_that_is_not(root):
    learnt = {"validation": {"scenes": ["a"]}, "network": {"depth": 3, "base_filters": 2}}
    (note,) = load_training_data(settings_for(root, chip=64, **learnt)).notes
    assert note == (
        "chip 64 is larger than all scenes to learn from (at most 33 × 37 pixels): 70 % or more of "
        "each chip is padding; set chip: 40"
    )
    assert not load_training_data(settings_for(root, chip=40, **learnt)).notes


def test_black_and_white_labels_are_refused_with_the_line_to_write(root):
    for name, shape in SHAPES.items():
        relabel(root, name, 255 * (np.arange(np.prod(shape)).reshape(shape) % 3 == 0))
    with pytest.raises(InputError, match="`255: 1`"):
        load_training_data(settings_for(root))
    for data in ({"remap": {255: 1}}, {"remap": {255: "class 1"}}):
        assert min(load_training_data(settings_for(root, data=data)).class_counts) > 0
