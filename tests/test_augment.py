"""Augmentation shows the same land: labels go where their pixels go, and nothing is invented."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import map_coordinates
from scipy.stats import norm

from geounet.learn import geometry, light
from geounet.learn.augment import augment, draw, grain
from geounet.learn.augment_settings import AugmentSettings

SIDE, BANDS = 12, 3
STILL = AugmentSettings(symmetries=False)
PLACE = {"zoom": (0.7, 1.5), "elastic": 1.0}
LIGHT = {
    "gain": 0.2, "band_gain": 0.1, "haze": 0.05, "band_offset": 0.01, "contrast": 0.2,
    "brightness": 0.02, "stretch": 0.1, "band_stretch": 0.05, "gamma": 0.2, "noise": 0.01,
    "band_dropout": 0.3,
}  # fmt: skip
EVERYTHING = AugmentSettings(**PLACE, **LIGHT)

pytestmark = pytest.mark.usefixtures("strict_numerics")

vary = jax.jit(augment, static_argnums=3)
symmetry = jax.jit(geometry.symmetry)


@partial(jax.jit, static_argnums=2)
def relit(drawn, image, settings, fill=None):
    return light.relight(drawn, image, settings, light.Inputs(fill))


moved = jax.jit(geometry.move, static_argnums=3)
zoomed = jax.jit(geometry.zoomed, static_argnums=0)
displacement = jax.jit(geometry.displacement, static_argnums=(1, 2))
drawn_of = jax.jit(draw, static_argnums=(1, 2, 3))


def sample(seed: int = 0, tiles: int = 2):
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.5, (tiles, SIDE, SIDE, BANDS)).astype(np.float32)
    labels = rng.choice([0, 1, 255], (tiles, SIDE, SIDE)).astype(np.uint8)
    images[0, 3:5, 4:7] = np.nan
    return images, labels


def coordinates(tiles: int = 1):
    """Two bands that hold each pixel's own row and column, and labels that differ by pixel."""
    rows, cols = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    codes = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    image = np.stack([rows, cols], axis=-1)
    return np.stack([image] * tiles), np.stack([codes] * tiles)


def numbers(seed: int, bands: int = BANDS, **fixed: float):
    """What ``draw`` gives for one sample; the named ones are set."""
    drawn = drawn_of(jax.random.key(seed), 1, bands, jnp.float32)
    found = {k: np.array(v)[0] for k, v in drawn.items()}
    return found | {k: np.full_like(found[k], v) for k, v in fixed.items()}


@given(st.integers(0, 7))
def test_a_symmetry_moves_bands_and_labels_alike_and_keeps_every_value(which):
    images, labels = sample()
    image, turned = (symmetry(np.int32(which), part[1]) for part in (images, labels))
    codes = symmetry(np.int32(which), np.arange(SIDE * SIDE).reshape(SIDE, SIDE))
    np.testing.assert_array_equal(image, images[1].reshape(-1, BANDS)[codes])
    np.testing.assert_array_equal(turned, labels[1].reshape(-1)[codes])
    assert sorted(np.asarray(codes).ravel()) == list(range(SIDE * SIDE))


def test_the_eight_symmetries_differ_and_all_are_drawn():
    marked = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    eight = {np.asarray(symmetry(np.int32(k), marked)).tobytes() for k in range(8)}
    assert len(eight) == 8
    images, labels = coordinates(tiles=64)
    _, turned, _ = vary(jax.random.key(0), images, labels, AugmentSettings())
    assert len({np.asarray(one).tobytes() for one in np.asarray(turned)}) == 8


def test_nothing_asked_for_changes_nothing():
    images, labels = sample()
    weights = np.ones(labels.shape, np.float32)
    same, same_labels, same_weights = vary(jax.random.key(1), images, labels, STILL, weights)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(same_labels, labels)
    np.testing.assert_array_equal(same_weights, weights)


def test_three_parts_come_back_with_or_without_weights():
    images, labels = sample()
    assert vary(jax.random.key(1), images, labels, STILL)[2] is None


def test_the_same_key_gives_the_same_batch_and_another_key_another():
    images, labels = sample()
    first, again, other = (
        np.asarray(vary(jax.random.key(k), images, labels, EVERYTHING)[0]) for k in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_samples_of_a_batch_vary_independently():
    images, labels = sample()
    twice = np.stack([images[1], images[1]])
    varied, _, _ = vary(jax.random.key(0), twice, labels, EVERYTHING)
    assert not np.array_equal(varied[0], varied[1])


def test_one_setting_does_not_change_what_another_draws():
    images, labels = sample()
    turned, moved_labels, _ = vary(jax.random.key(4), images, labels, AugmentSettings())
    lit, lit_labels, _ = vary(jax.random.key(4), images, labels, AugmentSettings(gain=0.2))
    np.testing.assert_array_equal(moved_labels, lit_labels)
    ratio = np.asarray(lit) / np.asarray(turned)
    assert np.nanstd(ratio[1]) < 1e-5
    assert abs(np.nanmean(ratio[1]) - 1) > 1e-3


@pytest.mark.parametrize(
    "place",
    [{}, {"zoom": (0.6, 1.7)}, {"elastic": 2.0}, {"zoom": (0.6, 1.7), "elastic": 2.0}],
    ids=["turned", "zoomed", "bent", "both"],
)
def test_labels_and_weights_stay_on_their_pixels(place):
    """The bands say which place a pixel shows: its label and weight are those of the nearest."""
    images, labels = coordinates(tiles=8)
    weights = labels.astype(np.float32) / 8
    image, codes, weighed = (
        np.asarray(part)
        for part in vary(jax.random.key(2), images, labels, AugmentSettings(**place), weights)
    )
    # A bilinear plane is exact, also where places are mirrored, as they lie inside the chip.
    nearest = np.round(image).astype(int)
    clear = (np.abs(image - nearest) < 0.499).all(axis=-1)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(codes[clear], (nearest @ [SIDE, 1])[clear])
    np.testing.assert_array_equal(weighed, codes.astype(np.float32) / 8)
    assert not np.array_equal(codes, np.asarray(labels))


@pytest.mark.parametrize("place", [{"zoom": (0.6, 1.7)}, {"elastic": 1.5}], ids=["zoom", "elastic"])
def test_moving_invents_neither_values_nor_labels_nor_data(place):
    images, labels = sample(tiles=4)
    image, codes, _ = vary(jax.random.key(9), images, labels, AugmentSettings(**place))
    bands, image = np.asarray(images), np.asarray(image)
    assert np.nanmin(image) >= np.nanmin(bands) - 1e-6
    assert np.nanmax(image) <= np.nanmax(bands) + 1e-6
    assert set(np.unique(codes)) <= set(np.unique(labels))
    assert np.isnan(image[0]).any()
    assert not np.isnan(image[1:]).any()


def test_a_pixel_between_others_has_no_data_if_one_of_them_has_none():
    image = np.zeros((SIDE, SIDE, 1), np.float32)
    image[5, 5] = np.nan
    rows, cols = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    half = np.minimum(rows + np.float32(0.5), SIDE - 1)
    for grid, lost in [((rows, cols), [(5, 5)]), ((half, cols), [(4, 5), (5, 5)])]:
        bent = np.isnan(jax.jit(geometry.bent)(image, *grid))[..., 0]
        assert list(map(tuple, np.argwhere(bent))) == lost
        straight = jax.jit(geometry.stretched)(image, grid[0][:, 0], grid[1][0])
        np.testing.assert_array_equal(np.isnan(straight)[..., 0], bent)


def test_zoom_by_one_changes_nothing_even_beside_nodata():
    images, labels = sample()
    settings = AugmentSettings(symmetries=False, zoom=(0.5, 2.0))
    image, codes = moved(numbers(0, zoom=0.5), images[0], labels[0], settings)
    np.testing.assert_array_equal(image, images[0])
    np.testing.assert_array_equal(codes, labels[0])


def test_zoom_keeps_a_plane_a_plane_and_its_centre_still():
    rows, cols = zoomed(SIDE, np.float32(1.5), np.float32([4 / 11, 6 / 11]))
    np.testing.assert_allclose([rows[4], cols[6]], [4, 6], rtol=1e-5)
    np.testing.assert_allclose(np.diff(rows), 1 / 1.5, rtol=1e-4)
    np.testing.assert_allclose(np.diff(cols), 1 / 1.5, rtol=1e-4)


def test_bending_agrees_with_scipy():
    images, labels = sample(seed=3)
    found, _ = moved(numbers(3), images[1], labels[1], AugmentSettings(symmetries=False, elastic=2))
    shift = np.asarray(displacement(numbers(3)["bend"], SIDE, 2.0))
    places = np.mgrid[0:SIDE, 0:SIDE] + np.moveaxis(shift, -1, 0)
    for band in range(BANDS):
        expected = map_coordinates(images[1][..., band], places, order=1, mode="mirror")
        np.testing.assert_allclose(found[..., band], expected, atol=1e-5)


def test_displacements_are_bicubic_between_three_by_three_normal_vectors():
    draws = np.random.default_rng(1).uniform(size=(3, 3, 2)).astype(np.float32)
    field = np.asarray(displacement(draws, 9, 10.0))
    nodes = 10 * norm.ppf(draws.astype(np.float64))
    np.testing.assert_allclose(field[1::3, 1::3], nodes, rtol=1e-4, atol=1e-4)
    # Halfway in thirds between the nodes, Keys' kernel (a = −1/2), renormalised at the edge.
    x = np.abs(np.array([0, 1, 2]) - (np.arange(9)[:, None] - 1) / 3)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    keys = np.where(x <= 1, near, np.where(x < 2, far, 0))
    keys /= keys.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(field, np.einsum("ri,cj,ijk->rck", keys, keys, nodes), atol=1e-3)


def test_displacements_have_the_deviation_asked_for():
    draws = drawn_of(jax.random.key(0), 500, 1, jnp.float32)["bend"]
    field = jax.jit(jax.vmap(lambda one: geometry.displacement(one, 3, 10.0)))(draws)
    assert np.std(field) == pytest.approx(10, rel=0.03)
    assert np.isfinite(displacement(np.zeros((3, 3, 2), np.float32), 9, 10.0)).all()


@pytest.mark.parametrize("name", [*LIGHT])
def test_light_is_varied_and_pixels_without_data_stay_so_alone(name):
    images, _ = sample()
    settings = AugmentSettings(symmetries=False, **{name: LIGHT[name]})
    drawn = numbers(0, dropout=0.1) | {"grain": np.asarray(images[1])}
    drawn["dropout"][1] = 0.9
    lit = relit(drawn, images[0], settings)
    np.testing.assert_array_equal(np.isnan(lit), np.isnan(images[0]))
    assert not np.array_equal(lit, images[0], equal_nan=True)


@pytest.mark.parametrize("name", [*LIGHT])
def test_light_moves_neither_labels_nor_weights(name):
    images, labels = sample(tiles=8)
    weights = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    settings = AugmentSettings(symmetries=False, **{name: LIGHT[name]})
    lit, kept, weighed = vary(jax.random.key(3), images, labels, settings, weights)
    assert not np.array_equal(lit, images, equal_nan=True)
    np.testing.assert_array_equal(kept, labels)
    np.testing.assert_array_equal(weighed, weights)


@given(st.integers(0, 50))
def test_light_stays_within_what_was_asked_for(seed):
    image = np.full((SIDE, SIDE, BANDS), 0.25, np.float32)
    settings = AugmentSettings(gain=0.2, band_gain=0.1, haze=0.05, band_offset=0.01)
    lit = np.asarray(relit(numbers(seed), image, settings))
    assert (lit >= 0.25 * np.exp(-0.3) - 0.01 - 1e-6).all()
    assert (lit <= 0.25 * np.exp(0.3) + 0.06 + 1e-6).all()
    assert np.ptp(lit, axis=(0, 1)).max() == 0


@given(st.integers(0, 50))
def test_haze_adds_light_and_falls_off_along_the_bands(seed):
    image = np.zeros((SIDE, SIDE, BANDS), np.float32)
    haze = np.asarray(relit(numbers(seed), image, AugmentSettings(haze=0.05)))[0, 0]
    assert (haze >= 0).all()
    assert (np.diff(haze) <= 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_contrast_is_about_the_mean_of_what_has_data_and_brightness_is_common(sign):
    image = np.asarray(sample()[0][0])
    settings = AugmentSettings(contrast=0.2, brightness=0.1)
    lit = relit(numbers(0, contrast=sign > 0, brightness=sign > 0), image, settings)
    mean = np.nanmean(image, axis=(0, 1))
    np.testing.assert_allclose(
        lit, mean + (image - mean) * np.exp(0.2 * sign) + 0.1 * sign, rtol=1e-4, atol=1e-6
    )


def test_a_display_moves_black_and_white_bends_and_clips():
    image = np.linspace(0, 255, SIDE * SIDE * BANDS, dtype=np.float32).reshape(SIDE, SIDE, BANDS)
    settings = AugmentSettings(stretch=0.2, band_stretch=0.1, gamma=0.5, stretch_range=(0, 255))
    drawn = numbers(0, gamma=1.0)
    drawn["stretch"] = np.float32([1.0, 0.0])
    drawn["band_stretch"] = np.float32([[0.5, 1.0, 0.0], [0.5, 0.5, 0.5]])
    black = np.array([0.2, 0.3, 0.1])
    expected = 255 * np.clip((image / 255 - black) / (0.8 - black), 0, 1) ** np.exp(0.5)
    np.testing.assert_allclose(relit(drawn, image, settings), expected, atol=0.01)


def test_without_a_range_a_display_keeps_each_band_within_its_own():
    images, _ = sample()
    settings = AugmentSettings(stretch=0.3, band_stretch=0.1, gamma=0.2)
    shown = np.asarray(relit(numbers(7), images[0], settings))
    for bound in (np.nanmin, np.nanmax):
        assert bound(shown - bound(images[0], axis=(0, 1))) == pytest.approx(0, abs=0.5)
    assert (np.nanmin(shown, axis=(0, 1)) >= np.nanmin(images[0], axis=(0, 1)) - 1e-6).all()
    assert (np.nanmax(shown, axis=(0, 1)) <= np.nanmax(images[0], axis=(0, 1)) + 1e-6).all()


def test_a_display_of_a_constant_or_empty_band_stays_as_it_is():
    image = np.full((SIDE, SIDE, 2), [0.3, np.nan], np.float32)
    drawn = numbers(1, bands=2, stretch=0.4, band_stretch=0.4)
    shown = np.asarray(relit(drawn, image, AugmentSettings(stretch=0.1)))
    np.testing.assert_allclose(shown[..., 0], 0.3, rtol=1e-5)
    assert np.isnan(shown[..., 1]).all()


def test_noise_is_nearly_normal():
    noise = np.asarray(grain(jax.random.key(0), (100_000,)))
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    shares = [(np.abs(noise) < z).mean() for z in (1, 2)]
    np.testing.assert_allclose(shares, [0.683, 0.954], atol=0.015)


def test_a_dropped_band_shows_the_fill_and_the_others_nothing_of_it():
    images, _ = sample()
    drawn = numbers(0)
    drawn["dropout"] = np.float32([0.1, 0.6, 0.4])
    fill = np.float32([0.11, 0.12, 0.13])
    settings = AugmentSettings(band_dropout=0.5)
    lit = np.asarray(relit(drawn, images[0], settings, fill))
    has = ~np.isnan(np.asarray(images[0][..., 0]))
    for band in (0, 2):
        np.testing.assert_array_equal(lit[has][:, band], np.full(has.sum(), fill[band]))
    np.testing.assert_array_equal(lit[..., 1], images[0][..., 1])
    own = np.asarray(relit(drawn, images[0], settings))
    np.testing.assert_allclose(own[has][:, 0], np.nanmean(images[0][..., 0]), rtol=1e-5)


@given(st.integers(0, 50))
def test_a_band_always_stays(seed):
    images, _ = sample()
    lit = relit(numbers(seed), images[1], AugmentSettings(band_dropout=0.99))
    assert np.ptp(np.asarray(lit), axis=(0, 1)).max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zoom": (1.5, 0.7)}, "from small to large"),
        ({"stretch_range": (255, 0)}, "from black to white"),
        ({"stretch": 0.3, "band_stretch": 0.2}, "must stay below 0.5"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        AugmentSettings(**settings)
