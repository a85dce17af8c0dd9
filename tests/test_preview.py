"""The picture of a job: its size, its colours, and names that are no formulas."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from PIL import Image

from geounet.card import LandClass
from geounet.errors import OutputError
from geounet.preview import WIDTH_PX, Preview, coloured, stretched, write_preview

CLASSES = (
    LandClass(value=0, name="land of $x$ and \\frac", colour="#996633"),
    LandClass(value=1, name="wäter & <reed> " * 5, colour="#3366cc"),
)


def preview_of(shape: tuple[int, int], bands: int = 3, outlines: int = 1) -> Preview:
    rows, cols = shape
    ramp = np.linspace(0, 1, rows * cols * bands).reshape(rows, cols, bands)
    labels = np.zeros(shape, np.uint8)
    labels[: rows // 2] = 1
    labels[:, 0] = 255
    polygons = np.array([shapely.box(0, 0, cols, rows / 2)] * outlines, object)
    return Preview(ramp, labels, CLASSES, polygons, "A $scene$", "note of $1 and $2")


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (10, 900), (900, 10)])
@pytest.mark.parametrize("bands", [1, 3, 6])
def test_the_picture_is_1600_pixels_wide_and_readable(tmp_path, shape, bands):
    path = tmp_path / "preview.png"
    write_preview(path, preview_of(shape, bands, outlines=bands % 2))
    with Image.open(path) as picture:
        assert picture.width == WIDTH_PX
        assert 250 <= picture.height <= 1100
    assert [p.name for p in tmp_path.iterdir()] == ["preview.png"]


def test_the_map_is_in_the_colours_of_its_classes(tmp_path):
    path = tmp_path / "preview.png"
    write_preview(path, preview_of((37, 53)))
    colours = {c for _, c in Image.open(path).convert("RGB").getcolors(2**24) or []}
    assert {(0x99, 0x66, 0x33), (0x33, 0x66, 0xCC)} <= colours


def test_a_picture_of_no_valid_pixel_is_drawn(tmp_path):
    path = tmp_path / "preview.png"
    image = np.full((5, 7, 3), np.nan)
    labels = np.full((5, 7), 255, np.uint8)
    write_preview(path, Preview(image, labels, CLASSES, np.empty(0, object), "Nothing"))
    assert path.stat().st_size > 1000


def test_the_stretch_spans_black_to_white_and_leaves_missing_pixels_grey():
    image = np.repeat(np.linspace(-3, 9, 101)[None, :, None], 3, 2)
    image[0, 50] = np.nan
    colours = stretched(image)
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert colours[0, -1].tolist() == [255, 255, 255]
    assert colours[0, 50].tolist() == [237, 237, 237]
    assert (np.diff(colours[0, :50, 0].astype(int)) >= 0).all()


def test_pixels_without_a_class_are_grey():
    labels = np.array([[0, 1, 255]], np.uint8)
    assert coloured(labels, CLASSES).tolist() == [
        [[0x99, 0x66, 0x33], [0x33, 0x66, 0xCC], [237, 237, 237]]
    ]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"preview\.png: cannot be written"):
        write_preview(tmp_path / "file" / "preview.png", preview_of((3, 4)))
