"""Spectral indices: quotients of two bands that the network also sees, in training and in maps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
import yaml
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geounet.card import ModelCard
from geounet.errors import SettingsError
from geounet.grid import Plan, round_up
from geounet.indices import FLOOR, normalised_differences
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.learn.evaluation import evaluate
from geounet.learn.learner import Scaling, logits_of
from geounet.learn.split_settings import SplitSettings
from geounet.learn.train_settings import load_settings
from geounet.learn.training import train
from geounet.model_file import load_card, load_model, save_model
from geounet.predict import Predictor
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from geounet.unet import reach
from tests.jobs import GRIDS
from tests.made_scenes import write
from tests.nets import NAMES, architecture, card_of, random_net
from tests.test_seams import assert_seamless, drawn_scene, reader, tiled, whole

INDICES = (("blue", "green"), ("green", "red"))
SCALE, OFFSET = (1e-4, 2e-4, 1e-4), (0.0, -0.05, 0.0)


def indexed(depth=2, **changes):
    """A network of three bands and two indices, with its card."""
    arch = architecture(depth, base_filters=3, bands=5, outputs=3)
    own = {"bands": NAMES[:3], "indices": INDICES, "std": (0.1,) * 3 + (0.4,) * 2}
    return random_net(arch), card_of(arch, **(own | changes))


def predictor(depth=2, **options):
    return Predictor(*indexed(depth), SCALE, OFFSET, **options)


def drawn(shape=(16, 24), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4000, (*shape, 3)).astype(np.uint16), rng.random(shape) < 0.8


def by_numpy(a, b):
    """The definition, a pixel at a time."""
    a, b = max(a, 0.0), max(b, 0.0)
    return (a - b) / (a + b) if a + b > FLOOR else (a - b) / FLOOR


@given(st.lists(st.tuples(*[st.floats(-1, 2, width=32)] * 2), min_size=1, max_size=9))
def test_an_index_is_the_difference_over_the_sum(pixels):
    bands = np.array(pixels, np.float32)
    found = normalised_differences(bands, ((0, 1), (1, 0)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [by_numpy(*p) for p in bands.tolist()], atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], -found[:, 1])
    assert (np.abs(found) <= 1).all()


def test_a_device_finds_the_same_as_numpy():
    bands = np.random.default_rng(0).uniform(-0.1, 0.5, (6, 7, 3)).astype(np.float32)
    found = normalised_differences(jnp.asarray(bands), ((2, 0),))
    np.testing.assert_allclose(found, normalised_differences(bands, ((2, 0),)), atol=1e-6)


def test_light_cancels_and_darkness_is_no_cliff():
    bands = np.array([[0.08, 0.02], [0.8, 0.2]])
    np.testing.assert_allclose(normalised_differences(bands, ((0, 1),)), [[0.6], [0.6]])
    dark = np.array([[0.0, 0.0], [-0.1, -0.2], [FLOOR * 0.75, FLOOR * 0.25], [np.nan, 1.0]])
    found = normalised_differences(dark, ((0, 1),))[:, 0]
    np.testing.assert_allclose(found, [0, 0, 0.5, np.nan])


def test_the_network_sees_bands_and_indices_normalised():
    network, card = indexed()
    numbers, valid = drawn()
    unit = numbers * SCALE + np.array(OFFSET)
    inputs = np.concatenate([unit, normalised_differences(unit, card.pairs)], axis=-1)
    inputs = (inputs - np.array(card.mean)) / np.array(card.std)
    wanted = network(jnp.float32(np.where(valid[..., None], inputs, 0))[None])[0]
    found = Predictor(network, card, SCALE, OFFSET).logits(numbers, valid)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_what_nodata_pixels_hold_does_not_matter():
    numbers, valid = drawn()
    other = np.where(valid[..., None], numbers, np.uint16(60000))
    forward = predictor().logits
    np.testing.assert_array_equal(forward(numbers, valid), forward(other, valid))


def test_training_and_mapping_see_the_same():
    network, card = indexed()
    numbers, valid = drawn()
    unit = np.where(valid[..., None], numbers * SCALE + np.array(OFFSET), np.nan)
    graph, state = nnx.split(network)
    scaling = Scaling(jnp.float32(card.mean), jnp.float32(card.std), card.pairs)
    learnt = logits_of(graph, state, scaling, jnp.float32(unit)[None])[0]
    mapped = Predictor(network, card, SCALE, OFFSET).logits(numbers, valid)
    np.testing.assert_allclose(learnt, mapped, atol=1e-4)


@pytest.mark.parametrize(("depth", "tta"), [(1, False), (2, False), (1, True)])
def test_maps_are_seamless_with_the_same_halo(depth, tta):
    stride, shape = 2**depth, (83, 95)
    halo = round_up(reach(architecture(depth)), stride)
    bands, valid = drawn_scene(shape, 5)
    read = reader(np.concatenate([bands, bands[:, :, :1] // 3], axis=-1), valid)
    forward = predictor(depth, tta=tta).logits
    plan = Plan(shape, 2 * halo + 2 * stride, halo, stride)
    truth = whole(read, forward, shape, stride)
    assert_seamless(tiled(read, forward, plan.tiles, shape, 3), truth)
    short = Plan(shape, 2 * halo + 2 * stride, halo - stride, stride)
    with pytest.raises(AssertionError):
        assert_seamless(tiled(read, forward, short.tiles, shape, 3), truth)


def test_indices_add_nothing_to_the_reach_and_a_card_without_any_keeps_its_hash(tmp_path):
    network, card = indexed()
    signed = save_model(tmp_path / "m.safetensors", network, card)
    assert signed.reach == reach(architecture(2))
    assert load_model(tmp_path / "m.safetensors").card == signed
    assert load_card(tmp_path / "m.safetensors").pairs == ((0, 1), (1, 2))
    plain = card_of(architecture(2, bands=3))
    assert "indices" not in plain.model_dump_json()
    assert plain.pairs == ()


CONFIG = {
    "name": "quotients",
    "classes": [
        {"value": 1, "name": "land", "colour": "#d8cfb4"},
        {"value": 2, "name": "water", "colour": "#1f78b4"},
    ],
    "data": {
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"green": 1, "swir1": 2},
        "scale": 1e-4,
        "nodata": 0,
        "indices": [["green", "swir1"]],
    },
    "network": {"depth": 1, "base_filters": 4},
    "augment": {"gain": 0.7},
    "optimiser": {"kind": "adamw", "learning_rate": 0.02, "ema": 0.9},
    "chip": 16,
    "batch": 4,
    "epochs": 8,
}


def make_set(root):
    """Six scenes, each under a sun of its own: water is where the first band is the lighter one."""
    rng = np.random.default_rng(4)
    transform, crs = GRIDS["north-up"]
    for n in range(6):
        water = np.kron(rng.permutation(np.tile([0, 1], 6)).reshape(3, 4), np.ones((12, 10), int))
        sun = rng.uniform(500, 4000, water.shape)
        bands = np.stack([np.where(water, 1.0, 0.6), np.where(water, 0.6, 1.0)]) * sun
        bands[:, 5, 7] = 0
        # The scenes lie apart, as training refuses places that it also holds out.
        place = {"transform": transform @ transform.translation(100 * n, 0), "crs": crs}
        for kind in ("images", "labels"):
            (root / kind).mkdir(exist_ok=True)
        names = {"descriptions": ("green", "swir1"), "nodata": 0}
        write(root / f"images/{n}.tif", bands.astype(np.uint16), **place, **names)
        write(root / f"labels/{n}.tif", (water + 1).astype(np.uint8)[None], **place)
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return load_settings(root / "config.yaml")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    found = make_set(tmp_path_factory.mktemp("set"))
    held = found.data.model_copy(update={"validation": SplitSettings(scenes=("1", "4"))})
    return found.model_copy(update={"data": held})


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    return train(settings, tmp_path_factory.mktemp("run") / "out")


def pixels_of(settings, names):
    found = []
    for name in names:
        with rasterio.open(settings.data.root / f"images/{name}.tif") as file:
            bands = file.read().astype(float)
        found.append(bands[:, bands[0] > 0] * 1e-4)
    return np.concatenate(found, axis=1).T


def test_the_card_has_the_indices_and_their_mean_over_training_pixels(trained, settings):
    card = trained.card
    assert card.bands == ("green", "swir1")
    assert card.indices == (("green", "swir1"),)
    assert card.architecture.bands == len(card.mean) == 3
    assert settings.inputs == ["green", "swir1", "index of green and swir1"]
    pixels = pixels_of(settings, "0235")
    inputs = np.column_stack([pixels, normalised_differences(pixels, ((0, 1),))])
    np.testing.assert_allclose(card.mean, inputs.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(card.std, inputs.std(axis=0), rtol=1e-4)


def test_a_network_with_the_index_learns_what_light_hides(trained, settings, tmp_path):
    options = EvaluateSettings(split="validation")
    found = evaluate(trained.model, settings, tmp_path / "scores", options)
    assert found.report["overall"]["macro_iou"]["value"] > 0.95


def test_a_map_made_with_the_index_is_that_of_the_labels(trained, settings, tmp_path):
    scene, mapping = settings.data.root / "images/1.tif", SegmentSettings(formats=("none",))
    segment(scene, trained.model, tmp_path / "out", mapping)
    with rasterio.open(tmp_path / "out/mask.tif") as file:
        mask = file.read(1)
    with rasterio.open(settings.data.root / "labels/1.tif") as file:
        labels = file.read(1)
    assert mask[5, 7] == 255
    assert (mask == labels)[mask != 255].mean() > 0.95


BAD = [
    ([["green", "nir"]], r"\[green, nir\] names nir, which is not in bands \(green, swir1\)"),
    ([["green", "green"]], r"\[green, green\] has one band twice; name two"),
    (
        [["green", "swir1"], ["swir1", "green"]],
        r"\[swir1, green\] is there already, in this order or the other",
    ),
]


@pytest.mark.parametrize(("indices", "message"), BAD)
def test_settings_with_an_index_that_cannot_be_are_refused(tmp_path, indices, message):
    data = CONFIG["data"] | {"indices": indices}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONFIG | {"data": data}))
    with pytest.raises(SettingsError, match=rf"a\.yaml: data: indices: {message}"):
        load_settings(tmp_path / "a.yaml")


def test_an_index_of_display_values_is_refused(tmp_path):
    data = CONFIG["data"] | {"stretch": {}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONFIG | {"data": data}))
    with pytest.raises(SettingsError, match="data: indices and stretch exclude each other"):
        load_settings(tmp_path / "a.yaml")


def test_more_inputs_than_a_network_takes_are_refused(tmp_path):
    bands = {f"b{k}": k + 1 for k in range(200)}
    indices = [["b0", f"b{k}"] for k in range(1, 100)]
    data = CONFIG["data"] | {"bands": bands, "indices": indices}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONFIG | {"data": data}))
    with pytest.raises(SettingsError, match=r"names 200 bands and data\.indices has 99; choose"):
        load_settings(tmp_path / "a.yaml")


@pytest.mark.parametrize(("indices", "message"), [*BAD, ([], "0 indices, 3 means")])
def test_a_card_with_an_index_that_cannot_be_is_refused(trained, indices, message):
    fields = trained.card.model_dump() | {"indices": indices}
    with pytest.raises(ValidationError, match=message):
        ModelCard.model_validate(fields)
