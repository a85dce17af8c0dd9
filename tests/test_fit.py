"""How the numbers of a scene reach the unit of a model, and where they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from geounet.card import Stretch
from geounet.errors import ModelError
from geounet.fit import fit
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from tests.jobs import GRIDS
from tests.made_scenes import write
from tests.nets import architecture, card_of


@pytest.fixture
def card():
    return card_of(architecture(bands=3))


def scene(folder, dtype, **options):
    transform, crs = GRIDS["north-up"]
    bands = np.ones((3, 8, 9), dtype)
    names = ("blue", "green", "red")
    write(folder / "s.tif", bands, transform=transform, crs=crs, descriptions=names)
    return open_scene(folder / "s.tif", SceneOptions(**options))


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("float32", "floating-point numbers"),
        ("float64", "floating"),
        ("uint8", "numbers of 8 bits"),
    ],
)
def test_numbers_that_the_models_scaling_cannot_fit_are_refused(dtype, kind, card, tmp_path):
    """Reflectance of 0 to 1, times 0.0001, would be water everywhere."""
    with pytest.raises(ModelError, match=rf"s: no scaling is known for blue, .*{kind}") as refused:
        fit(scene(tmp_path, dtype), card)
    assert "say --scale 1 --offset 0 if they are reflectance already" in str(refused.value)
    assert fit(scene(tmp_path, dtype, scale=1.0, offset=0.0), card).scale == (1.0,) * 3


def test_whole_numbers_of_16_bits_are_taken_as_the_models_with_a_note(card, tmp_path):
    fitted = fit(scene(tmp_path, "uint16"), card)
    assert fitted.scale == (card.scale,) * 3
    assert "taken as the model's own (reflectance = number × 0.0001 + 0)" in fitted.notes[0]


def test_a_model_of_floats_takes_floats_with_a_note(card, tmp_path):
    fitted = fit(scene(tmp_path, "float32"), card.model_copy(update={"scale": 1.0}))
    assert fitted.scale == (1.0,) * 3
    assert "taken as the model's own" in fitted.notes[0]


def test_a_display_stretch_needs_no_scaling(card, tmp_path):
    stretch = Stretch(display=((0.1, 0.9),) * 3)
    fitted = fit(scene(tmp_path, "float32"), card.model_copy(update={"stretch": stretch}))
    assert fitted.notes == ()
