"""Augmentation shows the same land: labels go where their pixels go, and nothing is invented."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geounet.learn.augment import augment, relight, symmetry, zoom
from geounet.learn.augment_settings import AugmentSettings

SIDE, BANDS = 12, 3
STILL = AugmentSettings(symmetries=False)
EVERYTHING = AugmentSettings(
    zoom=(0.7, 1.5), gain=0.2, band_gain=0.1, haze=0.05, band_offset=0.01, noise=0.01
)

pytestmark = pytest.mark.usefixtures("strict_numerics")


def sample(seed: int = 0, tiles: int = 2):
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.5, (tiles, SIDE, SIDE, BANDS)).astype(np.float32)
    labels = rng.choice([0, 1, 255], (tiles, SIDE, SIDE)).astype(np.uint8)
    images[0, 3:5, 4:7] = np.nan
    return jnp.asarray(images), jnp.asarray(labels)


vary = jax.jit(augment, static_argnums=3)
jitted_zoom = jax.jit(zoom)
relit = jax.jit(relight, static_argnums=2)


@given(st.integers(0, 7))
def test_a_symmetry_moves_bands_and_labels_alike_and_keeps_every_value(which):
    images, labels = sample()
    image, turned = symmetry(jnp.int32(which), images[1]), symmetry(jnp.int32(which), labels[1])
    codes = symmetry(jnp.int32(which), jnp.arange(SIDE * SIDE).reshape(SIDE, SIDE))
    np.testing.assert_array_equal(image, images[1].reshape(-1, BANDS)[codes])
    np.testing.assert_array_equal(turned, labels[1].reshape(-1)[codes])
    assert sorted(np.asarray(codes).ravel()) == list(range(SIDE * SIDE))


def test_the_eight_symmetries_differ():
    marked = jnp.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    assert len({np.asarray(symmetry(jnp.int32(k), marked)).tobytes() for k in range(8)}) == 8


def test_nothing_asked_for_changes_nothing():
    images, labels = sample()
    same, same_labels = vary(jax.random.key(1), images, labels, STILL)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(same_labels, labels)


def test_the_same_key_gives_the_same_batch_and_another_key_another():
    images, labels = sample()
    first, again, other = (
        np.asarray(vary(jax.random.key(k), images, labels, EVERYTHING)[0]) for k in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_samples_of_a_batch_vary_independently():
    images, labels = sample()
    twice = jnp.stack([images[1], images[1]])
    varied, _ = vary(jax.random.key(0), twice, labels, EVERYTHING)
    assert not np.array_equal(varied[0], varied[1])


def test_labels_stay_on_their_pixels_through_everything():
    """The first band says what the label is; light and place are varied, and it still does."""
    rng = np.random.default_rng(3)
    blobs = np.kron(rng.integers(0, 2, (8, SIDE // 4, SIDE // 4)), np.ones((4, 4))).astype(np.uint8)
    images = jnp.asarray(np.repeat(blobs[..., None], BANDS, axis=-1), jnp.float32)
    settings = AugmentSettings(zoom=(0.7, 1.5), gain=0.02, haze=0.02, band_offset=0.01)
    varied, labels = (
        np.asarray(part) for part in vary(jax.random.key(2), images, jnp.asarray(blobs), settings)
    )
    # Bilinear gives the nearest of four pixels at least a quarter: outside 0.25 to 0.75 both agree.
    clear = np.abs(varied[..., 0] - 0.5) > 0.3
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(varied[clear][:, 0] > 0.5, labels[clear] == 1)


@given(st.floats(0.5, 2), st.floats(0, 1), st.floats(0, 1))
def test_zoom_invents_neither_values_nor_labels(factor, row, col):
    images, labels = sample()
    centre = jnp.asarray([row, col], jnp.float32)
    image, moved = (
        np.asarray(part) for part in jitted_zoom(jnp.float32(factor), centre, images[1], labels[1])
    )
    bands = np.asarray(images[1])
    low, high = bands.min(axis=(0, 1)), bands.max(axis=(0, 1))
    assert (image >= low - 1e-6).all()
    assert (image <= high + 1e-6).all()
    assert set(np.unique(moved)) <= set(np.unique(np.asarray(labels[1])))


def test_zoom_by_one_changes_nothing_even_beside_nodata():
    images, labels = sample()
    image, moved = jitted_zoom(jnp.float32(1), jnp.asarray([0.3, 0.9]), images[0], labels[0])
    np.testing.assert_array_equal(image, images[0])
    np.testing.assert_array_equal(moved, labels[0])


def test_zoom_keeps_a_plane_a_plane_and_its_centre_still():
    rows, cols = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    plane = jnp.asarray(np.stack([rows, cols, rows + cols], axis=-1))
    labels = jnp.zeros((SIDE, SIDE), jnp.uint8)
    centre = jnp.asarray([4 / 11, 6 / 11], jnp.float32)
    image, _ = jitted_zoom(jnp.float32(1.5), centre, plane, labels)
    np.testing.assert_allclose(image[4, 6], plane[4, 6], rtol=1e-5)
    np.testing.assert_allclose(np.diff(image[:, 0, 0]), 1 / 1.5, rtol=1e-4)
    np.testing.assert_allclose(np.diff(image[0, :, 1]), 1 / 1.5, rtol=1e-4)


def test_pixels_without_data_stay_without_data_and_do_not_spread_by_light():
    images, _ = sample()
    lit = relit(jax.random.key(0), images[0], EVERYTHING)
    np.testing.assert_array_equal(np.isnan(lit), np.isnan(images[0]))


@given(st.integers(0, 50))
def test_light_stays_within_what_was_asked_for(seed):
    image = jnp.full((SIDE, SIDE, BANDS), 0.25, jnp.float32)
    settings = AugmentSettings(gain=0.2, band_gain=0.1, haze=0.05, band_offset=0.01)
    lit = np.asarray(relit(jax.random.key(seed), image, settings))
    assert (lit >= 0.25 * np.exp(-0.3) - 0.01 - 1e-6).all()
    assert (lit <= 0.25 * np.exp(0.3) + 0.06 + 1e-6).all()
    assert np.ptp(lit, axis=(0, 1)).max() == 0


@given(st.integers(0, 50))
def test_haze_adds_light_and_falls_off_along_the_bands(seed):
    image = jnp.zeros((SIDE, SIDE, BANDS), jnp.float32)
    haze = np.asarray(relit(jax.random.key(seed), image, AugmentSettings(haze=0.05)))[0, 0]
    assert (haze >= 0).all()
    assert (np.diff(haze) <= 0).all()


def test_a_zoom_range_from_large_to_small_is_refused():
    with pytest.raises(ValidationError, match="from small to large"):
        AugmentSettings(zoom=(1.5, 0.7))
