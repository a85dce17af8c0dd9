"""What becomes of a window: its eight symmetries averaged, its confidence tempered."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.special import expit, softmax

from geounet.card import NODATA
from geounet.errors import SettingsError
from geounet.fit import fit
from geounet.grid import Plan, round_up
from geounet.model_file import load_model
from geounet.predict import SYMMETRIES, Predictor, turn, turn_back
from geounet.scene import open_scene
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import read as read_mask
from tests.nets import architecture, card_of, random_net
from tests.test_seams import assert_seamless, drawn_scene, reader, tiled, whole

DEPTH, STRIDE = 2, 4
HALO = round_up(card_of(architecture(DEPTH)).reach, STRIDE)


@lru_cache
def network(outputs, depth):
    arch = architecture(depth, base_filters=2, bands=2, outputs=outputs)
    return random_net(arch), arch


def predictor(outputs=3, tta=False, depth=1, **changes):
    drawn, arch = network(outputs, depth)
    return Predictor(drawn, card_of(arch, **changes), (1e-4, 1e-4), (0.0, 0.0), tta=tta)


def window(shape=(24, 24), seed=3):
    return drawn_scene(shape, seed)


@pytest.mark.parametrize("which", range(SYMMETRIES))
def test_a_symmetry_is_undone(which):
    image = np.arange(4 * 6 * 2).reshape(4, 6, 2)
    np.testing.assert_array_equal(turn_back(which, turn(which, image)), image)


def test_the_symmetries_are_eight():
    image = np.arange(9).reshape(3, 3)
    assert len({turn(k, image).tobytes() for k in range(SYMMETRIES)}) == 8


def by_hand(outputs, bands, valid):
    """Mean of the probabilities over the symmetries, each forward alone."""
    plain = predictor(outputs)
    views = []
    for k in range(SYMMETRIES):
        logits = plain.logits(turn(k, bands).copy(), turn(k, valid).copy())
        logits = np.float64(turn_back(k, np.asarray(logits)))
        views.append(expit(logits) if outputs == 1 else softmax(logits, axis=-1))
    return np.mean(views, axis=0)


@pytest.mark.parametrize(("outputs", "shape"), [(1, (24, 24)), (2, (24, 24)), (3, (16, 28))])
def test_tta_is_the_mean_of_the_probabilities_of_the_eight_views(outputs, shape):
    bands, valid = window(shape)
    mean = by_hand(outputs, bands, valid)
    ours = predictor(outputs, tta=True)
    found = np.asarray(ours.probabilities(ours.logits(bands, valid)))
    np.testing.assert_allclose(found[..., -outputs:], mean, atol=1e-5)
    assert ours.logits(bands, valid).shape == (*shape, outputs)


def test_tta_gives_the_turned_map_of_a_turned_scene():
    bands, valid = window()
    ours = predictor(tta=True)
    straight = np.asarray(ours.logits(bands, valid))
    for k in range(1, SYMMETRIES):
        turned = ours.logits(turn(k, bands).copy(), turn(k, valid).copy())
        np.testing.assert_allclose(turn_back(k, np.asarray(turned)), straight, atol=1e-4)


def test_tta_keeps_far_logits_finite():
    arch = architecture(1, base_filters=2, bands=2, outputs=1)
    sure = random_net(arch)
    sure.head.bias[...] += 300
    ours = Predictor(sure, card_of(arch), (1e-4, 1e-4), (0.0, 0.0), tta=True)
    logits = np.asarray(ours.logits(*window()))
    assert np.isfinite(logits).all()
    assert logits.min() > 200


@pytest.mark.parametrize(("shape", "outputs"), [((101, 87), 3), ((33, 117), 1)])
def test_with_tta_tiled_equals_whole(shape, outputs):
    """Also where the scene is smaller than a window, whose turned shape is then another."""
    ours = predictor(outputs, tta=True, depth=DEPTH)
    read = reader(*drawn_scene(shape, 4))
    plan = Plan(shape, 2 * HALO + 4 * STRIDE, HALO, STRIDE)
    assert len(plan.tiles) > 1
    truth = whole(read, ours.logits, shape, STRIDE)
    assert_seamless(tiled(read, ours.logits, plan.tiles, shape, outputs), truth)


def test_with_tta_half_the_halo_still_shows():
    shape = (101, 87)
    ours = predictor(tta=True, depth=DEPTH)
    read = reader(*drawn_scene(shape, 4))
    truth = whole(read, ours.logits, shape, STRIDE)
    short = Plan(shape, 2 * HALO + 4 * STRIDE, HALO // 2, STRIDE)
    with pytest.raises(AssertionError):
        assert_seamless(tiled(read, ours.logits, short.tiles, shape, 3), truth)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("tta", [False, True])
def test_temperature_moves_confidence_and_not_the_mask(outputs, tta):
    bands, valid = window()
    sharp = predictor(outputs, tta)
    soft = predictor(outputs, tta, temperature=3.0)
    a, b = (p(bands, valid, confidence=True, probabilities=True) for p in (sharp, soft))
    np.testing.assert_array_equal(a["mask"], b["mask"])
    assert a["confidence"].mean() > b["confidence"].mean() + 3
    logits = np.float64(sharp.logits(bands, valid)) / 3
    if outputs == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    np.testing.assert_allclose(b["probabilities"], 100 * softmax(logits, axis=-1), atol=0.51)


def test_a_job_with_tta_maps_the_mean_of_the_views_and_resumes_as_such(model, scene, tmp_path):
    chosen = SegmentSettings(tta=True, window=64, formats=("none",))
    results = segment(scene, model, tmp_path, chosen)
    loaded = load_model(model)
    fitted = fit(open_scene(scene), loaded.card)
    rows, cols = fitted.scene.grid.shape
    pixels = fitted.scene.read(tuple(slice(0, round_up(n, STRIDE)) for n in (rows, cols)))
    forward = Predictor(loaded.network, loaded.card, fitted.scale, fitted.offset, tta=True)
    whole_map = np.asarray(forward(pixels.bands, pixels.valid)["mask"])
    whole_map = np.where(pixels.valid, whole_map, NODATA)[:rows, :cols]
    np.testing.assert_array_equal(read_mask(results.files[0]), whole_map)
    with pytest.raises(SettingsError, match="tta was True and is now False"):
        segment(scene, model, tmp_path, chosen.model_copy(update={"tta": False, "resume": True}))
