"""All that training asks of the data: opened, split, checked and counted before the first step.

The order of the checks is that of their cost: headers, places on Earth, then one pass over the
pixels. Nothing is trained on a data set that one of them refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, UInt8

from geounet.errors import InputError
from geounet.grid import Window, round_up
from geounet.indices import Pairs
from geounet.learn.block_index import BlockIndex
from geounet.learn.counting import Counted, build_index
from geounet.learn.data_settings import StretchSettings
from geounet.learn.ground import Ground
from geounet.learn.label_coding import refuse_unknown, some
from geounet.learn.labelled import LabelledScene, open_labelled
from geounet.learn.leaks import refuse_copies, refuse_overlaps
from geounet.learn.samples import Chips
from geounet.learn.sampling import Drawn, Every, training_chips, validation_chips
from geounet.learn.slabs import Reader
from geounet.learn.splits import grounds_of
from geounet.learn.train_settings import TrainSettings
from geounet.scene_histogram import scene_bounds
from geounet.unet import radius

RARE = 0.01
"""The share of the labelled pixels below which a class calls for balanced sampling."""

Images = Float32[np.ndarray, "tile row col band"]
LabelBatch = UInt8[np.ndarray, "tile row col"]


@dataclass(frozen=True)
class TrainingData:
    """Batches and validation chips, and what is known of the pixels; any thread may read.

    ``mean`` and ``std`` of the network's inputs (bands in the card's unit, then indices) and
    ``class_counts`` are those of training pixels only; ``pairs`` are the positions of the indices'
    bands. ``validation_areas`` are the held-out windows by the number of their scene.
    """

    scenes: tuple[LabelledScene, ...]
    steps: int
    validation: Chips
    validation_areas: dict[int, tuple[Window, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pairs: Pairs
    class_counts: tuple[int, ...]
    notes: tuple[str, ...]
    _reader: Reader = field(repr=False)
    _sampler: Every | Drawn = field(repr=False)

    def batch(self, epoch: int, i: int) -> tuple[Images, LabelBatch]:
        """Batch ``i`` of an epoch, ``0 <= i < steps``: a function of settings, epoch and i."""
        read = [self._reader.read(chip) for chip in self._sampler.chips(epoch, i)]
        images, labels = zip(*read, strict=True)
        return np.stack(images), np.stack(labels)


def load_training_data(settings: TrainSettings, workers: int = 0) -> TrainingData:
    """Open, split, check and count the data of a run.

    Args:
        settings: which data, how it is split and drawn.
        workers: Dask processes that count; 0 counts in threads of this one.

    Raises:
        SettingsError: if the split cannot be made.
        InputError: if a file cannot be used, a label value is unknown, training and validation
            overlap, a class is never seen, or one side has no label.
    """
    side, classes = settings.chip, settings.classes
    scenes = _with_stretch(open_labelled(settings.data, classes), settings.data.stretch)
    grounds = grounds_of(scenes, settings)
    notes = refuse_overlaps(scenes, grounds, radius(settings.architecture))
    counted = Counted(side, len(classes), settings.data.pairs)
    index = build_index(scenes, grounds, counted, workers)
    refuse_unknown(index.values, settings.data, classes)
    refuse_copies(scenes, grounds, index.digests)
    _refuse_unseen(index, settings)
    mean, std = index.statistics(settings.inputs)
    reader = Reader(scenes, side, settings.cache_mb)
    sampler = _sampler(index, grounds, settings, reader)
    return TrainingData(
        scenes=scenes,
        steps=sampler.steps,
        validation=Chips(reader, validation_chips(grounds, side)),
        validation_areas={k: g.validation for k, g in enumerate(grounds) if g.validation},
        mean=mean,
        std=std,
        pairs=settings.data.pairs,
        class_counts=index.class_counts,
        notes=(
            *told_once((s.name, n) for s in scenes for n in s.notes),
            *notes,
            *_notes_on(index, settings),
            *_note_on_padding(scenes, grounds, settings),
        ),
        _reader=reader,
        _sampler=sampler,
    )


def _with_stretch(
    scenes: tuple[LabelledScene, ...], stretch: StretchSettings | None
) -> tuple[LabelledScene, ...]:
    """With the percentiles of each whole scene, if the settings ask for a display stretch."""
    if stretch is None:
        return scenes
    other = [scene for scene in scenes if scene.scene.dtype != np.uint8]
    if other:
        raise InputError(
            f"{other[0].name}: data.stretch is for 8-bit display images, but this one is "
            f"{other[0].scene.dtype}; leave data.stretch out"
        )
    ends = (stretch.low, stretch.high)
    return tuple(replace(s, bounds=scene_bounds(s.scene, ends)) for s in scenes)


def _sampler(
    index: BlockIndex, grounds: Sequence[Ground], settings: TrainSettings, reader: Reader
) -> Every | Drawn:
    """What ``settings.sampling.kind`` asks for."""
    if settings.sampling.kind != "every":
        return Drawn(index, grounds, settings, reader.labels)
    return Every(training_chips(index, grounds, settings.chip), settings)


def _refuse_unseen(index: BlockIndex, settings: TrainSettings) -> None:
    root = settings.data.root
    if not any(index.class_counts):
        held = settings.data.validation is not None
        outside = " outside validation and its buffer; hold out less, or" if held else ";"
        raise InputError(
            f"{root}: no labelled pixel with image data is left to learn from{outside} "
            "check labels, data.remap and data.ignore"
        )
    unseen = [
        f"{c.name} (value {c.value})"
        for c, count in zip(settings.classes, index.class_counts, strict=True)
        if not count
    ]
    if unseen:
        raise InputError(
            f"{root}: no training pixel is labelled {some(unseen)}; add labels, hold out other "
            "ground, or take the class out of classes"
        )
    if settings.data.validation is not None and not any(index.held_counts):
        raise InputError(
            f"{root}: validation has no labelled pixel; hold out other ground (for drawn blocks "
            "another data.validation.seed)"
        )


def told_once(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Notes by scene: each text once, with the first scene that it is said of."""
    said: dict[str, list[str]] = {}
    for scene, note in notes:
        said.setdefault(note, []).append(scene)
    return [f"{some(names[:1])}{_others(names)}: {note}" for note, names in said.items()]


def _others(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _notes_on(index: BlockIndex, settings: TrainSettings) -> list[str]:
    notes = []
    total = sum(index.class_counts)
    pairs = zip(index.class_counts, index.held_counts, strict=True)
    for land_class, (learnt, held) in zip(settings.classes, pairs, strict=True):
        if settings.data.validation is not None and not held:
            notes.append(f"class {land_class.name} is not in validation: it gets no score")
        if learnt < RARE * total and settings.sampling.kind != "balanced":
            notes.append(
                f"class {land_class.name} has {100 * learnt / total:.2g} % of the labelled "
                "training pixels: sampling.kind balanced shows it more often"
            )
    return notes


def _note_on_padding(
    scenes: Sequence[LabelledScene], grounds: Sequence[Ground], settings: TrainSettings
) -> list[str]:
    """Said where a smaller chip would hold as much of the largest scene that is learnt from."""
    pairs = zip(scenes, grounds, strict=True)
    shapes = [s.grid.shape for s, g in pairs if s.grid.whole not in g.validation]
    chip, (rows, cols) = settings.chip, max(shapes, key=lambda shape: shape[0] * shape[1])
    enough = round_up(max(map(max, shapes)), 2**settings.network.depth)
    if enough >= chip:
        return []
    padding = 100 * (1 - rows * cols / chip**2)
    return [
        f"chip {chip} is larger than all scenes to learn from (at most {rows} × {cols} pixels): "
        f"{padding:.0f} % or more of each chip is padding; set chip: {enough}"
    ]
