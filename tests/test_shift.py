"""The shift between two images, made by moving one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

from geounet.scene_shift import SURE, SceneShift
from geounet.shift import shift_between


def textured(seed, side=128, margin=20):
    return (
        gaussian_filter(np.random.default_rng(seed).normal(size=(side + 2 * margin,) * 2), 2) * 10
    )


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(-5, 5))
def test_a_shift_is_found_to_a_fifth_of_a_pixel_under_noise_and_other_light(seed, rows, cols):
    first = textured(seed)
    second = 0.6 * shift(first, (rows, cols), order=5, mode="nearest") + 3
    noise = np.random.default_rng(seed).normal(0, 0.2, (2, 128, 128))
    parts = [
        image[20:-20, 20:-20] + grain for image, grain in zip((first, second), noise, strict=True)
    ]
    found = shift_between(*parts)
    assert found.rows == pytest.approx(rows, abs=0.2)
    assert found.cols == pytest.approx(cols, abs=0.2)
    assert found.sharpness > 2 * SURE


@pytest.mark.parametrize("seed", range(8))
def test_images_with_nothing_in_common_have_no_sharp_peak(seed):
    assert shift_between(textured(seed), textured(seed + 100)).sharpness < SURE


def test_images_without_any_texture_do_not_fail():
    assert shift_between(np.ones((64, 64)), np.ones((64, 64))).sharpness < SURE


def test_what_windows_say_is_told_only_where_it_matters():
    still = SceneShift("s", "red", 0.2, 0.1, 9, 9, 1.0)
    moved = SceneShift("s", "red", 0.4, -0.6, 9, 8, 0.8)
    unknown = SceneShift("s", "red", 3.0, 3.0, 9, 1, 1.0)
    assert still.notes() == ()
    assert "lies 0.7 pixels off" in moved.notes()[0]
    assert "cannot be told (1 of 9 windows" in unknown.notes()[0]
    assert unknown.describe()["rows"] is None
