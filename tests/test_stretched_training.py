"""Learning from pictures that were stretched for display, and mapping others like them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
import yaml

from geounet.errors import InputError
from geounet.learn.augment import augment
from geounet.learn.augment_settings import AugmentSettings
from geounet.learn.labelled import open_labelled
from geounet.learn.light import Inputs
from geounet.learn.split_settings import SplitSettings
from geounet.learn.train_settings import load_settings
from geounet.learn.training import train
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from tests.jobs import GRIDS
from tests.made_scenes import write

CONFIG = {
    "name": "shown",
    "level": "display",
    "unit": "display",
    "classes": [
        {"value": 1, "name": "other", "colour": "#d8cfb4"},
        {"value": 2, "name": "forest", "colour": "#1f78b4"},
    ],
    "data": {
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"red": 1, "green": 2},
        "scale": 1 / 255,
        "stretch": {"low": 10, "high": 90},
    },
    "network": {"depth": 1, "base_filters": 4},
    "augment": {"gain": 0.1, "stretch": 0.05},
    "optimiser": {"kind": "adamw", "learning_rate": 0.02, "ema": 0.9},
    "chip": 16,
    "batch": 4,
    "epochs": 6,
}


def make_set(root, dtype="uint8"):
    """Six scenes, each in a stretch of its own: forest is the darker half of every scene."""
    rng = np.random.default_rng(4)
    transform, crs = GRIDS["north-up"]
    for n in range(6):
        forest = np.kron(rng.permutation(np.tile([0, 1], 6)).reshape(3, 4), np.ones((12, 10), int))
        dark, light = [(30, 60), (90, 140), (20, 35)][n % 3]
        bands = np.stack([np.where(forest, dark, light) + rng.integers(0, 5, forest.shape)] * 2)
        # The scenes lie apart, as training refuses places that it also holds out.
        place = {"transform": transform @ transform.translation(100 * n, 0), "crs": crs}
        for kind in ("images", "labels"):
            (root / kind).mkdir(exist_ok=True)
        write(root / f"images/{n}.tif", bands.astype(dtype), **place)
        write(root / f"labels/{n}.tif", (forest + 1).astype(np.uint8)[None], **place)
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return load_settings(root / "config.yaml")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    return train(settings, tmp_path_factory.mktemp("run") / "out")


def test_a_scene_with_bounds_is_read_twice_the_second_time_as_places(settings):
    scene = open_labelled(settings.data, settings.classes)[0]
    window = (slice(-2, 11), slice(5, 17))
    plain, labels = scene.read(window)
    shown = dataclasses.replace(scene, bounds=((30.0, 60.0), (40.0, 50.0)))
    image, same = shown.read(window)
    np.testing.assert_array_equal(image[..., :2], plain)
    np.testing.assert_array_equal(same, labels)
    numbers = plain * 255
    np.testing.assert_allclose(image[..., 2], (numbers[..., 0] - 30) / 30, atol=1e-5)
    np.testing.assert_allclose(image[..., 3], (numbers[..., 1] - 40) / 10, atol=1e-5)


def test_the_card_has_the_stretch_and_twice_the_inputs(trained, settings):
    card = trained.card
    assert card.bands == ("red", "green")
    assert card.architecture.bands == len(card.mean) == 4
    assert settings.inputs == ["red", "green", "red stretched", "green stretched"]
    lows, highs = zip(*card.stretch.display, strict=True)
    np.testing.assert_allclose(lows, np.mean([30, 90, 20]) / 255, atol=2 / 255)
    np.testing.assert_allclose(highs, np.mean([63, 143, 38]) / 255, atol=2 / 255)


@pytest.mark.slow
def test_the_card_shows_the_stretch_of_training_scenes_alone(settings, tmp_path):
    held = settings.data.model_copy(update={"validation": SplitSettings(scenes=("1", "4"))})
    card = train(settings.model_copy(update={"data": held, "epochs": 1}), tmp_path / "out").card
    lows, highs = zip(*card.stretch.display, strict=True)
    np.testing.assert_allclose(lows, np.mean([30, 20]) / 255, atol=2 / 255)
    np.testing.assert_allclose(highs, np.mean([63, 38]) / 255, atol=2 / 255)


@pytest.mark.parametrize(("dark", "light"), [(30, 60), (55, 95)])
def test_a_scene_in_a_stretch_never_seen_is_mapped(trained, tmp_path, dark, light):
    transform, crs = GRIDS["north-up"]
    forest = np.kron(np.array([[0, 1, 1], [1, 0, 0]]), np.ones((20, 16), int))
    bands = np.stack([np.where(forest, dark, light)] * 2).astype(np.uint8)
    bands[:, ::3, ::2] += 3
    write(tmp_path / "a.tif", bands, transform=transform, crs=crs, descriptions=("red", "green"))
    segment(tmp_path / "a.tif", trained.model, tmp_path / "out", SegmentSettings(formats=("none",)))
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:
        assert (file.read(1) == forest + 1).mean() > 0.95


def test_light_varies_values_and_not_places_and_display_the_other_way_round():
    images = jnp.float32(np.random.default_rng(0).random((2, 8, 8, 4)))
    labels = jnp.zeros((2, 8, 8), jnp.uint8)
    inputs = Inputs(None, places=2)
    off = {"symmetries": False}

    def varied(**fields):
        settings = AugmentSettings(**off, **fields)
        return augment(jax.random.key(1), images, labels, settings, None, inputs)[0]

    light = varied(gain=0.3, band_gain=0.2, haze=0.2, band_offset=0.1, noise=0.1, contrast=0.2)
    np.testing.assert_array_equal(light[..., 2:], images[..., 2:])
    assert not np.isclose(light[..., :2], images[..., :2]).all(axis=(1, 2)).any()
    shown = varied(stretch=0.1, band_stretch=0.1)
    np.testing.assert_array_equal(shown[..., :2], images[..., :2])
    moved = np.asarray(shown[0, ..., 2])
    line = np.polyfit(np.asarray(images[0, ..., 2]).ravel(), moved.ravel(), 1)
    assert 1 / 1.4 < line[0] < 1 / 0.6
    assert abs(line[0] - 1) > 0.01


def test_images_of_more_than_8_bits_cannot_have_a_display_stretch(tmp_path):
    settings = make_set(tmp_path, "uint16")
    with pytest.raises(InputError, match="is for 8-bit display images, but this one is uint16"):
        train(settings, tmp_path / "out")
