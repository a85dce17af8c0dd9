"""Tiled equals whole: the five rules of exact tiling, and what happens when one is broken.

The law: float32 logits within 1e-4, and no label differs where the top two logits are further
apart than 2e-4.
"""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from geounet.grid import Plan, Tile, round_up
from geounet.predict import Predictor
from geounet.unet import reach
from tests.nets import EVERYTHING, architecture, card_of, name_of, random_net


@lru_cache(maxsize=8)
def predictor(depth, outputs=3, seed=0):
    arch = architecture(depth, base_filters=3, bands=2, outputs=outputs)
    ones = (1e-4,) * arch.bands
    return Predictor(random_net(arch, seed), card_of(arch), ones, (0.0,) * arch.bands)


def drawn_scene(shape, seed):
    """(bands, valid): uint16 noise with rectangles of no data, padded on no side."""
    rng = np.random.default_rng(seed)
    bands = rng.integers(0, 4000, (*shape, 2)).astype(np.uint16)
    valid = np.ones(shape, bool)
    for _ in range(3):
        row, col = (rng.integers(0, n) for n in shape)
        valid[row : row + 9, col : col + 7] = False
    return bands, valid


def reader(bands, valid):
    """What ``Scene.read`` does, from memory: 0 and invalid outside."""

    def read(window):
        rows, cols = window
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        out, ok = np.zeros((*shape, bands.shape[2]), bands.dtype), np.zeros(shape, bool)
        part = bands[max(rows.start, 0) : rows.stop, max(cols.start, 0) : cols.stop]
        top, left = max(-rows.start, 0), max(-cols.start, 0)
        target = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
        out[target] = part
        ok[target] = valid[max(rows.start, 0) : rows.stop, max(cols.start, 0) : cols.stop]
        return out, ok

    return read


def whole(read, forward, shape, stride):
    rows, cols = (round_up(n, stride) for n in shape)
    logits = np.asarray(forward(*read((slice(0, rows), slice(0, cols)))))
    return logits[: shape[0], : shape[1]]


def tiled(read, forward, tiles, shape, outputs):
    logits = np.full((*shape, outputs), np.nan, np.float32)
    for tile in tiles:
        logits[tile.core] = np.asarray(forward(*read(tile.window)))[tile.crop]
    return logits


def labels_of(logits):
    return (logits[..., 0] > 0) if logits.shape[-1] == 1 else logits.argmax(-1)


def margin_of(logits):
    if logits.shape[-1] == 1:
        return np.abs(logits[..., 0])
    top = np.sort(logits, axis=-1)
    return top[..., -1] - top[..., -2]


def assert_seamless(ours, truth):
    np.testing.assert_allclose(ours, truth, atol=1e-4, rtol=0)
    differs = labels_of(ours) != labels_of(truth)
    assert not (differs & (margin_of(truth) > 2e-4)).any()


@pytest.mark.parametrize(
    "depth", [1, 2, 3, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (4, 5))]
)
@given(data=st.data())
@settings(max_examples=10)
def test_tiled_equals_whole(depth, data):
    stride = 2**depth
    halo = round_up(reach(architecture(depth)), stride)
    core = stride * data.draw(st.integers(1, 4), label="strides per core")
    window = 2 * halo + core
    # Up to six tiles a side: first, last, slid inwards, and some between.
    shape = tuple(data.draw(st.integers(1, window + 4 * core), label="side") for _ in range(2))
    outputs = data.draw(st.sampled_from([1, 3]), label="outputs")
    read = reader(*drawn_scene(shape, seed=data.draw(st.integers(0, 99), label="seed")))
    forward = predictor(depth, outputs).logits
    plan = Plan(shape, window, halo, stride)
    truth = whole(read, forward, shape, stride)
    assert_seamless(tiled(read, forward, plan.tiles, shape, outputs), truth)


@pytest.mark.parametrize("options", EVERYTHING, ids=name_of)
def test_every_kind_of_network_is_seamless_and_needs_its_halo(options):
    arch = architecture(2, base_filters=3, bands=2, **options)
    halo, shape = round_up(reach(arch), 4), (115, 95)
    scale = (1e-4,) * 2, (0.0,) * 2
    logits = Predictor(random_net(arch), card_of(arch), *scale).logits

    def forward(*window):
        # As if the last layer were drawn smaller: the drawn networks give logits of 500 and more,
        # where steps of a float32, and so rounding on some processors, pass the law's 1e-4.
        return logits(*window) / 16

    read = reader(*drawn_scene(shape, 5))
    truth = whole(read, forward, shape, 4)
    windows = Plan(shape, 2 * halo + 16, halo, 4).tiles
    assert_seamless(tiled(read, forward, windows, shape, 3), truth)
    short = Plan(shape, 2 * halo + 16, halo - 4, 4).tiles
    with pytest.raises(AssertionError):
        assert_seamless(tiled(read, forward, short, shape, 3), truth)


DEPTH, SHAPE = 3, (205, 231)
STRIDE, HALO = 8, 48
WINDOW = 2 * HALO + 4 * STRIDE


def broken(tiles=None, read=None, forward=None):
    """Tiled with one part replaced, against whole without."""
    good_read, good = reader(*drawn_scene(SHAPE, 5)), predictor(DEPTH).logits
    tiles = tiles or Plan(SHAPE, WINDOW, HALO, STRIDE).tiles
    truth = whole(good_read, good, SHAPE, STRIDE)
    assert_seamless(tiled(read or good_read, forward or good, tiles, SHAPE, 3), truth)


def test_with_every_rule_kept_there_is_no_seam():
    broken()


def test_rule_1_half_the_halo_shows():
    with pytest.raises(AssertionError):
        broken(tiles=Plan(SHAPE, WINDOW, HALO // 2, STRIDE).tiles)


def test_rule_1_the_halo_is_not_larger_than_it_must_be():
    with pytest.raises(AssertionError):
        broken(tiles=Plan(SHAPE, WINDOW, HALO - STRIDE, STRIDE).tiles)


def test_rule_2_a_window_off_the_stride_grid_shows():
    def moved(tile):
        rows, cols = tile.window
        if rows.start == 0 or rows.stop >= SHAPE[0]:
            return tile
        return Tile((slice(rows.start + 1, rows.stop + 1), cols), tile.core)

    with pytest.raises(AssertionError):
        broken(tiles=[moved(t) for t in Plan(SHAPE, WINDOW, HALO, STRIDE).tiles])


def test_rule_3_sliding_on_the_unpadded_length_shows():
    def slid(window, length):
        excess = max(0, window.stop - length)
        return slice(window.start - excess, window.stop - excess)

    def unpadded(tile):
        windows = tuple(slid(w, n) for w, n in zip(tile.window, SHAPE, strict=True))
        return Tile(windows, tile.core)

    with pytest.raises(AssertionError):
        broken(tiles=[unpadded(t) for t in Plan(SHAPE, WINDOW, HALO, STRIDE).tiles])


def test_rule_3_pad_that_is_not_the_constant_shows():
    good = reader(*drawn_scene(SHAPE, 5))

    def reflecting(window):
        bands, valid = good(window)
        return bands, valid | (bands.sum(-1) == 0)

    with pytest.raises(AssertionError):
        broken(read=reflecting)


def test_rule_4_a_statistic_of_the_window_shows():
    good = predictor(DEPTH).logits

    def instance_norm(bands, valid):
        bright = bands[valid].mean() if valid.any() else 1
        return good(np.float32(bands * (2000 / bright)), valid)

    with pytest.raises(AssertionError):
        broken(forward=instance_norm)


def test_rule_5_a_read_that_depends_on_its_window_shows():
    good, forward = reader(*drawn_scene(SHAPE, 5)), predictor(DEPTH).logits

    def smoothed(window):
        bands, valid = good(window)
        return uniform_filter1d(np.float32(bands), 41, axis=0, mode="nearest"), valid

    # The same smoothing on both sides: only its dependence on the window's edge is left.
    truth = whole(smoothed, forward, SHAPE, STRIDE)
    ours = tiled(smoothed, forward, Plan(SHAPE, WINDOW, HALO, STRIDE).tiles, SHAPE, 3)
    with pytest.raises(AssertionError):
        assert_seamless(ours, truth)


def test_bf16_differs_little_and_the_share_is_stated():
    """bf16 is for speed: windows may change a few labels, fewer than 1 in 100 here."""
    arch = architecture(DEPTH, base_filters=8, bands=2, outputs=3)
    ones, zeros = (1e-4,) * 2, (0.0,) * 2
    forward = Predictor(random_net(arch), card_of(arch), ones, zeros, "bf16").logits
    read = reader(*drawn_scene(SHAPE, 5))
    truth = whole(read, forward, SHAPE, STRIDE)
    ours = tiled(read, forward, Plan(SHAPE, WINDOW, HALO, STRIDE).tiles, SHAPE, 3)
    assert (labels_of(ours) != labels_of(truth)).mean() < 0.01
