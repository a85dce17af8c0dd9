"""A scene with its labels: what training learns from, opened from headers, read by window."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
from jaxtyping import Float32, Int64, UInt8
from rasterio.crs import CRS

from geounet.card import NODATA, LandClass
from geounet.errors import InputError, SettingsError
from geounet.grid import Grid, Window
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import Coding, coding_of, some
from geounet.learn.label_features import burnt, features_on
from geounet.learn.label_raster import RasterLabels, open_raster_labels
from geounet.learn.label_vector import ENDINGS, VectorLabels, is_vector, open_vector_labels
from geounet.learn.sources import Pair, find_pairs
from geounet.locations import shown
from geounet.raster import GDAL_ERRORS, cause_of
from geounet.scene import Scene, open_scene
from geounet.stretch import Bounds, to_unit

Image = Float32[np.ndarray, "row col band"]
Labels = UInt8[np.ndarray, "row col"]


@dataclass(frozen=True)
class LabelledScene:
    """An image and its labels on one grid; it holds no open file, so any process may have it.

    ``row`` is its line of the table. ``notes`` are things to tell the user. With ``bounds``, the
    numbers of each band at the two percentiles of a display stretch, images have every band twice:
    its values, then its places between the two. As with a scene, ``labelled.read(window)`` is the
    window of ``labelled.read(labelled.grid.whole)``.
    """

    name: str
    scene: Scene
    source: RasterLabels | VectorLabels
    coding: Coding
    row: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bounds: Bounds = ()

    @property
    def grid(self) -> Grid:
        return self.scene.grid

    @property
    def georeferenced(self) -> bool:
        """False for a patch whose place on Earth nothing says."""
        return self.grid.georeferenced

    @property
    def scale(self) -> tuple[float, ...]:
        """Per band of ``read``: ``number * scale + offset`` is in the card's unit."""
        values = (1.0 if b.scale is None else b.scale for b in self.scene.bands)
        return (*values, *(to_unit(*pair)[0] for pair in self.bounds))

    @property
    def offset(self) -> tuple[float, ...]:
        values = (0.0 if b.offset is None else b.offset for b in self.scene.bands)
        return (*values, *(to_unit(*pair)[1] for pair in self.bounds))

    def read(self, window: Window) -> tuple[Image, Labels]:
        """The image in the card's unit, NaN where it has no data; labels, 255 there and elsewhere.

        Raises:
            InputError: if a file cannot be read there.
        """
        pixels = self.scene.read(window)
        image = pixels.bands.astype(np.float32)
        image = np.concatenate([image, image], axis=-1) if self.bounds else image
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
        SettingsError: if a setting means nothing, or does not fit the images.
    """
    coding = coding_of(data, classes)
    _check_crs(data)

    @cache
    def vector(file: str) -> tuple[VectorLabels, tuple[str, ...]]:
        return open_vector_labels(file, data, classes)

    scenes = []
    pairs = find_pairs(data)
    _check_vector(pairs, data)
    for pair in pairs:
        scene = _scene(pair.image, data)
        _check_shared(pair, pairs, scene)
        source: RasterLabels | VectorLabels
        if is_vector(pair.label):
            source, notes = vector(pair.label)
            notes = (*notes, *features_on(source, scene.grid))
        else:
            source, notes = open_raster_labels(pair.label, scene.grid, data, classes)
        notes = (*_own_notes(scene), *notes, *_scaling_note(scene))
        scenes.append(LabelledScene(pair.name, scene, source, coding, pair.row, notes))
    return tuple(scenes)


def _check_crs(data: DataSettings) -> None:
    try:
        # Outside of an environment GDAL writes what it finds to stderr as well.
        with rasterio.Env():
            CRS.from_user_input(data.assume_crs or "EPSG:4326")
    except GDAL_ERRORS as error:
        raise SettingsError(
            f"data.assume_crs {data.assume_crs}: is not a CRS ({cause_of(error)}); write e.g. "
            "EPSG:32633"
        ) from error


def _check_vector(pairs: Sequence[Pair], data: DataSettings) -> None:
    if data.vector is not None and not any(is_vector(pair.label) for pair in pairs):
        raise SettingsError(
            f"data.vector is given, but {pairs[0].label} is no vector file; take it out, or name "
            f"one that ends in {', '.join(ENDINGS)}"
        )


def _check_shared(pair: Pair, pairs: Sequence[Pair], scene: Scene) -> None:
    """One label file serves several images by their place on Earth."""
    users = [other.name for other in pairs if other.label == pair.label]
    if len(users) > 1 and not scene.grid.georeferenced:
        raise InputError(
            f"{pair.image}: has no georeferencing, so {pair.label} cannot serve {some(users)} "
            "alike; give each image labels of its own stem"
        )


def shared_scaling(scenes: Sequence[LabelledScene]) -> tuple[float, float]:
    """The scale and offset that all bands share, for the card; else 1 and 0, the unit itself.

    A map of numbers without scaling takes the card's, and so reads them as training did.
    """
    scalings = (zip(s.scale, s.offset, strict=True) for s in scenes)
    # Places in a display stretch, which follow the bands' values, are scaled by scene.
    bands = (list(pairs)[: len(s.scene.bands)] for s, pairs in zip(scenes, scalings, strict=True))
    pairs = {pair for part in bands for pair in part}
    return pairs.pop() if len(pairs) == 1 else (1.0, 0.0)


def _own_notes(scene: Scene) -> list[str]:
    """The image's notes without its file name: said of many images they are one text."""
    names = {Path(shown(file)).name for file in scene.files}
    pairs = ((note, *note.partition(": ")[::2]) for note in scene.notes)
    return [rest if head in names else note for note, head, rest in pairs]


def _scaling_note(scene: Scene) -> tuple[str, ...]:
    unknown = [b.name for b in scene.bands if b.scale is None]
    if not unknown or scene.dtype.kind not in "iu":
        return ()
    return ("no scaling of the image is known: its numbers are learnt as they are",)


def _scene(image: str, data: DataSettings) -> Scene:
    """The image with the card's bands, in the card's order.

    Raises:
        InputError: if it cannot be opened, or lacks a band.
        SettingsError: if another option does not fit it.
    """
    options = data.scene_options
    try:
        return open_scene(image, options, patches=True).select(list(data.bands))
    except InputError as error:
        raise InputError(_for_training(error)) from error
    except SettingsError as error:
        # If it opens without the bands, they are what does not fit, and the files decide that.
        try:
            plain = open_scene(image, options.model_copy(update={"bands": {}}), patches=True)
        except SettingsError:
            raise SettingsError(_for_training(error)) from error
        raise InputError(_wrong_band(plain, data)) from error


def _for_training(error: Exception) -> str:
    """The message, with the fields of ``data`` that stand for the flags that it names."""
    flags = re.findall(r"--([a-z]+(?:-[a-z]+)*)", str(error))
    fields = ({"band": "bands"}.get(f, f).replace("-", "_") for f in flags)
    known = list(dict.fromkeys(f"data.{f}" for f in fields if f in DataSettings.model_fields))
    return f"{error} (in a training file: {', '.join(known)})" if known else str(error)


def _wrong_band(scene: Scene, data: DataSettings) -> str:
    """Which of ``data.bands`` the image has not."""
    files = {b.file for b in scene.bands}
    have = ", ".join(f"{b.index} {b.name}" if len(files) == 1 else b.name for b in scene.bands)
    numbers = {str(b.index) for b in scene.bands if len(files) == 1}
    wrong = [
        f"{'channel' if str(channel).isdecimal() else 'band'} {channel} for {name}"
        for name, channel in data.bands.items()
        if str(channel) not in numbers and not any(b.answers_to(str(channel)) for b in scene.bands)
    ]
    file = scene.bands[0].raster.shown if len(files) == 1 else scene.name
    return f"{file}: has no {some(wrong)}, only {have}; correct data.bands"
