"""Percentiles of a whole scene, whatever the windows, and the maps made from them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from geounet import scene_histogram, stretch
from geounet.card import Stretch
from geounet.fit import fit, stretched
from geounet.model_file import load_model, save_model
from geounet.predict import Predictor
from geounet.scene import open_scene
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import GRIDS, smooth
from tests.made_scenes import write
from tests.nets import architecture, card_of, random_net

SEED = 3
"""A network whose map of the made scene has both classes."""


def counts_of(values, dtype):
    bands = np.asarray(values, dtype).reshape(1, -1, 1)
    return stretch.count(bands, np.ones(bands.shape[:2], bool))


def inverted_cdf(values, percentile):
    return np.percentile(np.asarray(values, np.float64), percentile, method="inverted_cdf")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("percentile", [0, 2, 37.5, 50, 98, 100])
def test_integers_are_exact(dtype, percentile):
    info = np.iinfo(dtype)
    values = np.random.default_rng(1).integers(info.min, info.max, 997, endpoint=True)
    values[:2] = info.min, info.max
    ((low, _),) = stretch.bounds(counts_of(values, dtype), np.dtype(dtype), (percentile, 100))
    assert low == inverted_cdf(values, percentile)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), st.floats(0, 100))
def test_floats_are_within_a_hundredth(values, percentile):
    values = [0.0 if abs(v) < 1e-30 else v for v in values]
    ((low, _),) = stretch.bounds(
        counts_of(values, "float32"), np.dtype("float32"), (percentile, 100)
    )
    rank = max(1.0, len(values) * percentile / 100)
    wanted = sorted(values)[int(np.ceil(rank - 1e-9)) - 1]
    assert low == pytest.approx(wanted, rel=0.01, abs=1e-30)


def test_counts_of_parts_add_up():
    rng = np.random.default_rng(2)
    bands, valid = rng.normal(size=(9, 14, 2)).astype(np.float32), rng.random((9, 14)) < 0.7
    whole = stretch.count(bands, valid)
    parts = stretch.count(bands[:4], valid[:4]) + stretch.count(bands[4:], valid[4:])
    np.testing.assert_array_equal(whole, parts)
    assert whole.sum(axis=1).tolist() == [valid.sum()] * 2


def test_a_flat_or_empty_band_becomes_zero():
    assert stretch.to_unit(7, 7) == (0, 0)
    nothing = np.zeros((1, stretch.KEYS), np.int64)
    assert stretch.bounds(nothing, np.dtype("uint8"), (2, 98)) == ((0, 0),)


def test_the_bounds_become_0_and_1():
    scale, offset = stretch.to_unit(30, 80)
    assert (30 * scale + offset, 80 * scale + offset) == pytest.approx((0, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_scene_is_counted_whole_without_its_nodata(tmp_path, monkeypatch, dtype):
    transform, crs = GRIDS["north-up"]
    bands = np.random.default_rng(3).integers(1, 250, (3, 61, 47)).astype(dtype)
    bands[:, :5] = 0
    write(tmp_path / "scene.tif", bands, transform=transform, crs=crs, nodata=0)
    scene = open_scene(tmp_path / "scene.tif")
    at_once = scene_histogram.scene_bounds(scene, (2, 98))
    monkeypatch.setattr(scene_histogram, "SIDE", 16)
    assert scene_histogram.scene_bounds(scene, (2, 98)) == at_once
    for band, (low, high) in zip(bands, at_once, strict=True):
        seen = band[5:]
        assert low == pytest.approx(inverted_cdf(seen, 2), rel=0.01)
        assert high == pytest.approx(inverted_cdf(seen, 98), rel=0.01)


def stretch_model(path, **changes):
    arch = architecture(depth=1, base_filters=2, bands=6, outputs=1)
    fields = {
        "bands": ("blue", "green", "red"),
        "scale": 1 / 255,
        "mean": (0.25,) * 3 + (0.5,) * 3,
        "std": (0.1,) * 3 + (0.3,) * 3,
        "stretch": Stretch(low=5, high=95, display=((0.1, 0.4), (0.2, 0.5), (0.0, 0.3))),
    }
    save_model(path, random_net(arch, seed=SEED), card_of(arch, **{**fields, **changes}), "float32")
    return path


def eight_bits(folder, factor=1, dtype="uint8"):
    """The same scene in other numbers: times ``factor``."""
    transform, crs = GRIDS["north-up"]
    bands = np.stack([smooth((90, 70), seed).astype(float) / 12 for seed in range(3)])
    bands = bands.astype(np.uint8).clip(1).astype(dtype) * np.dtype(dtype).type(factor)
    folder.mkdir()
    path = folder / "scene.tif"
    write(path, bands, transform=transform, crs=crs, descriptions=("blue", "green", "red"))
    return path, bands


def test_a_model_with_a_stretch_sees_values_and_places(tmp_path):
    path, bands = eight_bits(tmp_path / "a")
    model = load_model(stretch_model(tmp_path / "m.safetensors"))
    fitted = stretched(fit(open_scene(path), model.card), model.card)
    assert len(fitted.scale) == 6
    np.testing.assert_allclose(fitted.scale[:3], 1 / 255)
    for k, band in enumerate(bands):
        low, high = (inverted_cdf(band, p) for p in (5, 95))
        ends = fitted.scale[3 + k] * np.array([low, high]) + fitted.offset[3 + k]
        np.testing.assert_allclose(ends, (0, 1), atol=1e-9)
    predictor = Predictor(model.network, model.card, fitted.scale, fitted.offset)
    pixels = open_scene(path).read((slice(0, 64), slice(0, 64)))
    inputs = np.tile(pixels.bands.astype(np.float64), (1, 1, 2))
    inputs = (inputs * fitted.scale + fitted.offset - model.card.mean) / np.array(model.card.std)
    wanted = model.network(jnp.float32(inputs)[None])[0]
    np.testing.assert_allclose(predictor.logits(pixels.bands, pixels.valid), wanted, atol=1e-4)


def test_other_numbers_are_brought_to_the_display_values_of_training(tmp_path):
    path, bands = eight_bits(tmp_path / "b", factor=40, dtype="uint16")
    model = load_model(stretch_model(tmp_path / "m.safetensors"))
    fitted = stretched(fit(open_scene(path), model.card), model.card)
    for k, (band, display) in enumerate(zip(bands, model.card.stretch.display, strict=True)):
        ends = np.array([inverted_cdf(band, p) for p in (5, 95)])
        np.testing.assert_allclose(fitted.scale[k] * ends + fitted.offset[k], display, atol=1e-9)
    assert "not 8-bit display values; stretched by its percentiles 5 and 95" in fitted.notes[-1]


def test_the_map_does_not_depend_on_the_units_of_a_stretched_scene(tmp_path):
    model = stretch_model(tmp_path / "m.safetensors")
    settings = SegmentSettings(formats=("none",), window=32)
    masks = []
    for name, factor in (("c", 7), ("d", 70)):
        path, _ = eight_bits(tmp_path / name, factor, "uint16")
        segment(path, model, tmp_path / f"out-{name}", settings)
        masks.append(rasterio.open(tmp_path / f"out-{name}" / "mask.tif").read(1))
    assert len(np.unique(masks[0])) == 2
    assert (masks[0] == masks[1]).mean() > 0.999


def test_a_resumed_job_has_the_same_stretch(tmp_path):
    path, _ = eight_bits(tmp_path / "e")
    model = stretch_model(tmp_path / "m.safetensors")
    settings = SegmentSettings(formats=("none",), window=32)
    segment(path, model, tmp_path / "out", settings)
    again = SegmentSettings(formats=("none",), window=32, resume=True)
    assert segment(path, model, tmp_path / "out", again).files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stretch": None}, "takes 6 bands, but the card has 3 names"),
        ({"stretch": {"low": 98, "high": 2, "display": [[0, 1]] * 3}}, "low 98 must be under"),
        ({"stretch": {"display": [[0, 1]]}}, "a pair for each band"),
    ],
)
def test_a_card_whose_stretch_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        stretch_model(tmp_path / "m.safetensors", **changes)
