"""Sampling: crops stay on allowed ground, rare classes are shown, and batch i is always batch i."""

from __future__ import annotations

import numpy as np
import pytest

from geounet.learn.counting import Counted, build_index
from geounet.learn.ground import Chip, Ground
from geounet.learn.labelled import open_labelled
from geounet.learn.sampling import Drawn, Every, class_chances, training_chips, validation_chips
from geounet.learn.slabs import Reader
from geounet.learn.split_settings import SamplingSettings
from tests.labelled_scenes import CORNER, put_scene, settings_for

SIDE = 16
CLOSED = (slice(30, 52), slice(20, 45))
SHAPES = {"a": (83, 90), "b": (9, 37), "c": (40, 33)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three scenes; in a three pixels are of class 1, one at its corner and one by CLOSED."""
    folder = tmp_path_factory.mktemp("sampling")
    for k, (name, shape) in enumerate(SHAPES.items()):
        labels = np.zeros(shape, np.uint8)
        if name == "a":
            labels[0, 0] = labels[60, 70] = labels[53, 46] = 1
            labels[40, 30] = 1
            labels[:, 78:] = 9
        if name == "c":
            labels[:] = 9
        place = {"corner": (CORNER[0] + 5000 * k, CORNER[1])}
        put_scene(folder, name, shape, seed=k, labels=labels, **place)
    return folder


GROUNDS = (Ground((83, 90), (), (CLOSED,)), Ground((9, 37)), Ground((40, 33)))


def drawn(root, sampling, **changes):
    settings = settings_for(root, sampling=sampling, **changes)
    scenes = open_labelled(settings.data, settings.classes)
    index = build_index(scenes, GROUNDS, Counted(SIDE, 2))
    reader = Reader(scenes, SIDE, 64)
    return Drawn(index, GROUNDS, settings, reader.labels), reader


def touches(window, closed):
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(window, closed, strict=True))


def test_crops_lie_on_allowed_ground_and_hold_their_class(root):
    sampler, reader = drawn(root, {"kind": "balanced"})
    rare, corners = 0, set()
    for i in range(60):
        for chip in sampler.chips(2, i):
            assert chip.scene in (0, 1)
            for span, length in zip(chip.window, SHAPES["ab"[chip.scene]], strict=True):
                assert span.stop - span.start == SIDE
                assert span.start >= 0
                assert span.stop <= max(length, SIDE)
            if chip.scene == 0:
                assert not touches(chip.window, CLOSED)
            labels = reader.read(chip)[1]
            assert (labels != 255).any()
            rare += (labels == 1).any()
            corners.add((chip.scene, chip.window[0].start, chip.window[1].start))
    # Half of the crops are drawn for class 1, which fills 3 of about 7000 pixels.
    assert 0.45 < rare / 240 < 0.6
    assert len(corners) > 100


def test_every_crop_that_holds_a_rare_pixel_is_drawn_alike(root):
    sampler, _ = drawn(root, {"kind": "balanced"}, batch=2000)
    crops = [c.window for c in sampler.chips(0, 0) if c.scene == 0]
    near = [w for w in crops if w[0].start <= 60 < w[0].stop and w[1].start <= 70 < w[1].stop]
    # Where the pixel lies inside its crop: everywhere, thus also at the edges.
    rows, cols = (np.array([at - w[k].start for w in near]) for k, at in ((0, 60), (1, 70)))
    assert set(rows) == set(range(16))
    assert set(cols) == set(range(16))


def test_random_crops_show_classes_as_often_as_there_are_pixels(root):
    sampler, reader = drawn(root, {"kind": "random"}, batch=300)
    shown = [reader.read(chip)[1] for chip in sampler.chips(0, 0)]
    assert sum((labels == 1).any() for labels in shown) < 60
    assert all((labels != 255).any() for labels in shown)
    scenes = [chip.scene for chip in sampler.chips(0, 0)]
    pixels = 83 * 78 - 22 * 25, 9 * 37
    assert scenes.count(1) / 300 == pytest.approx(pixels[1] / sum(pixels), abs=0.04)
    assert 2 not in scenes


def test_a_batch_is_a_function_of_seed_epoch_and_number(root):
    sampler, _ = drawn(root, {"kind": "balanced"})
    again, _ = drawn(root, {"kind": "balanced"})
    other, _ = drawn(root, {"kind": "balanced"}, seed=1)
    batches = [sampler.chips(e, i) for e in (0, 1) for i in range(3)]
    assert batches[::-1] == [again.chips(e, i) for e in (1, 0) for i in (2, 1, 0)]
    assert all(batches[0] != b for b in batches[1:])
    assert other.chips(0, 0) != batches[0]


def test_an_epoch_of_crops_covers_the_ground_unless_told(root):
    ground = 83 * 90 - 22 * 25 + 9 * 37
    # Cells without any label, at the right of a and all of c, are no ground to cover.
    steps = drawn(root, {"kind": "random"})[0].steps
    assert 0.8 * ground / 1024 < steps <= -(-ground // 1024)
    assert drawn(root, {"kind": "random", "batches": 5})[0].steps == 5


@pytest.mark.parametrize(
    ("kind", "power", "expected"),
    [
        ("random", 0.0, [0.96, 0.0, 0.04]),
        ("balanced", 0.0, [0.5, 0.0, 0.5]),
        ("balanced", 1.0, [0.96, 0.0, 0.04]),
        ("balanced", 0.5, [0.96**0.5 / (0.96**0.5 + 0.2), 0.0, 0.2 / (0.96**0.5 + 0.2)]),
    ],
)
def test_the_chance_of_a_class_is_a_power_of_its_share(kind, power, expected):
    settings = SamplingSettings(kind=kind, power=power)
    found = class_chances(np.array([96, 0, 4]), settings)
    np.testing.assert_allclose(found, expected)


def chips_of(root, side=SIDE):
    settings = settings_for(root)
    scenes = open_labelled(settings.data, settings.classes)
    return training_chips(build_index(scenes, GROUNDS, Counted(side, 2)), GROUNDS, side)


def test_the_grid_of_chips_covers_the_ground_and_nothing_closed(root):
    chips = chips_of(root)
    seen = np.zeros((83, 90), int)
    for chip in chips:
        assert chip.window[0].stop - chip.window[0].start == SIDE
        assert chip.scene != 2
        if chip.scene == 0:
            assert not touches(chip.window, CLOSED)
            seen[chip.window] += 1
    assert not seen[CLOSED].any()
    # A chip next to closed ground moves off it; some ground between two of them may stay unseen.
    assert (seen[:, :78] > 0).sum() > 0.9 * (83 * 78 - 22 * 25)
    assert [c.window for c in chips if c.scene == 1] == [
        (slice(0, 16), slice(c, c + 16)) for c in (0, 16, 21)
    ]


def test_every_chip_is_shown_once_an_epoch_and_the_last_batch_is_filled(root):
    chips = chips_of(root)
    settings = settings_for(root, batch=5)
    sampler = Every(chips, settings)
    assert sampler.steps == -(-len(chips) // 5)
    key = [str(chip) for chip in chips]
    orders = []
    for epoch in (0, 1):
        shown = [str(c) for i in range(sampler.steps) for c in sampler.chips(epoch, i)]
        assert sorted(shown[: len(chips)]) == sorted(key)
        assert len(shown) == 5 * sampler.steps
        orders.append(shown)
    assert orders[0] != orders[1]
    assert [str(c) for c in sampler.chips(0, 1)] == orders[0][5:10]
    expected = np.random.default_rng((0, 1)).permutation(len(chips))
    assert orders[1][: len(chips)] == [key[k] for k in expected]


def test_each_validation_pixel_counts_in_one_chip_that_stays_inside():
    area = (slice(20, 62), slice(16, 49))
    small = (slice(0, 9), slice(0, 37))
    grounds = (Ground((83, 90), (area,)), Ground((9, 37), (small,)), Ground((40, 33)))
    chips = validation_chips(grounds, SIDE)
    for scene, shape in ((0, (83, 90)), (1, (9, 37))):
        counted = np.zeros(shape, int)
        for chip in (c for c in chips if c.scene == scene):
            counted[chip.keep] += 1
            for part, keep, span in zip(chip.window, chip.keep, (area, small)[scene], strict=True):
                assert part.stop - part.start == SIDE
                assert part.start >= span.start
                assert part.stop <= max(span.stop, span.start + SIDE)
                assert part.start <= keep.start < keep.stop <= part.stop
        inside = np.zeros(shape, int)
        inside[(area, small)[scene]] = 1
        np.testing.assert_array_equal(counted, inside)
    assert Chip(0, (slice(46, 62), slice(16, 32)), (slice(52, 62), slice(16, 32))) in chips
