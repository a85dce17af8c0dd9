"""A scene with its labels: what training learns from, opened from headers, read by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from geounet.card import NODATA, LandClass
from geounet.errors import InputError, SettingsError
from geounet.grid import Grid, Window
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import Coding, coding_of
from geounet.learn.label_features import burnt, features_on
from geounet.learn.label_raster import RasterLabels, open_raster_labels
from geounet.learn.label_vector import VectorLabels, is_vector, open_vector_labels
from geounet.learn.sources import find_pairs
from geounet.scene import Scene, open_scene

Image = Float32[np.ndarray, "row col band"]
Labels = UInt8[np.ndarray, "row col"]


@dataclass(frozen=True)
class LabelledScene:
    """An image and its labels on one grid; it holds no open file, so any process may have it.

    ``row`` is its line of the table. ``notes`` are things to tell the user. As with a scene,
    ``labelled.read(window)`` is the window of ``labelled.read(labelled.grid.whole)``.
    """

    name: str
    scene: Scene
    source: RasterLabels | VectorLabels
    coding: Coding
    row: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        return self.scene.grid

    @property
    def georeferenced(self) -> bool:
        """False for a patch whose place on Earth nothing says."""
        return self.grid.georeferenced

    @property
    def scale(self) -> tuple[float, ...]:
        """Per band: ``number * scale + offset`` is in the card's unit."""
        return tuple(1.0 if b.scale is None else b.scale for b in self.scene.bands)

    @property
    def offset(self) -> tuple[float, ...]:
        return tuple(0.0 if b.offset is None else b.offset for b in self.scene.bands)

    def read(self, window: Window) -> tuple[Image, Labels]:
        """The image in the card's unit, NaN where it has no data; labels, 255 there and elsewhere.

        Raises:
            InputError: if a file cannot be read there.
        """
        pixels = self.scene.read(window)
        image = pixels.bands.astype(np.float32)
        image = image * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)
        image[~pixels.valid] = np.nan
        return image, np.where(pixels.valid, self.labels(window), np.uint8(NODATA))

    def labels(self, window: Window) -> Labels:
        """Class indices, 255 where nothing is learnt; the image's own gaps do not count here."""
        return self.coding.encode(self.label_values(window))

    def label_values(self, window: Window) -> Int64[np.ndarray, "row col"]:
        """What the labels hold, before it is mapped to classes; ``UNLABELLED`` where nothing."""
        if isinstance(self.source, VectorLabels):
            return burnt(self.source, self.grid, window)
        return self.source.values(self.grid, window)


def open_labelled(data: DataSettings, classes: Sequence[LandClass]) -> tuple[LabelledScene, ...]:
    """Every image with its labels, ordered by name.

    Of rasters only headers are read; vector files are read through once, as nothing less would
    find values without a class.

    Raises:
        InputError: if an image lacks its labels or its row, or the two do not go together.
        SettingsError: if a setting does not fit the images.
    """
    coding = coding_of(data, classes)

    @cache
    def vector(file: str) -> tuple[VectorLabels, tuple[str, ...]]:
        return open_vector_labels(file, data, classes)

    scenes = []
    for pair in find_pairs(data):
        scene = _scene(pair.image, data)
        source: RasterLabels | VectorLabels
        if is_vector(pair.label):
            source, notes = vector(pair.label)
            notes = (*notes, *features_on(source, scene.grid))
        else:
            source, notes = open_raster_labels(pair.label, scene.grid, data, classes)
        notes = (*scene.notes, *notes, *_scaling_note(scene))
        scenes.append(LabelledScene(pair.name, scene, source, coding, pair.row, notes))
    return tuple(scenes)


def _scaling_note(scene: Scene) -> tuple[str, ...]:
    unknown = [b.name for b in scene.bands if b.scale is None]
    if not unknown or scene.dtype.kind not in "iu":
        return ()
    return ("no scaling of the image is known: its numbers are learnt as they are",)


def _scene(image: str, data: DataSettings) -> Scene:
    """The image with the card's bands, in the card's order.

    Raises:
        InputError: naming the band that it lacks.
    """
    options = data.scene_options
    try:
        scene = open_scene(image, options, patches=True)
    except SettingsError as error:
        # Without the bands it opens: they are what does not fit, and the files decide that.
        plain = open_scene(image, options.model_copy(update={"bands": {}}), patches=True)
        _refuse_bands(plain, data, error)
        raise
    return scene.select(list(data.bands))


def _refuse_bands(scene: Scene, data: DataSettings, error: SettingsError) -> None:
    have = ", ".join(f"{b.index} {b.name}" for b in scene.bands)
    channels = {b.index for b in scene.bands}
    for name, channel in data.bands.items():
        if isinstance(channel, int) and channel not in channels:
            raise InputError(
                f"{scene.bands[0].raster.shown}: has no channel {channel} for {name}; it has "
                f"{have}; correct data.bands"
            ) from error
    raise InputError(
        f"{scene.bands[0].raster.shown}: data.bands does not fit it, which has {have} ({error})"
    ) from error
