"""Training and validation ground of every scene, and folds that keep groups whole.

Blocks lie on one lattice per place: scenes that share a grid, as dates of one place do, have the
same blocks held out. The buffer around a block reaches into every scene that it meets. Nothing is
read here but headers that were read before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from geounet.errors import SettingsError
from geounet.grid import Window
from geounet.learn.ground import Ground, widened
from geounet.learn.labelled import LabelledScene
from geounet.learn.leaks import close_nearby
from geounet.learn.split_settings import BlockSettings, SplitSettings
from geounet.learn.train_settings import TrainSettings
from geounet.unet import radius

FIELD = "data.validation"
SHOWN = 8


class Block(NamedTuple):
    """A block of a place; ``place`` is the index of the first scene that has the place's grid."""

    place: int
    window: Window

    @property
    def name(self) -> str:
        return f"{self.place:06d}r{self.window[0].start:07d}c{self.window[1].start:07d}"


def grounds_of(scenes: Sequence[LabelledScene], settings: TrainSettings) -> tuple[Ground, ...]:
    """The ground of each scene, in order.

    Raises:
        SettingsError: if the split names what is not there, leaves one side empty, or its buffer
            is below the network's receptive radius.
    """
    split = settings.data.validation
    if split is None:
        return tuple(Ground(scene.grid.shape) for scene in scenes)
    if split.blocks is not None:
        buffer = _buffer(split.blocks, settings)
        held = _held_blocks(scenes, split, split.blocks)
        return close_nearby(scenes, _by_blocks(scenes, held, buffer), buffer)
    grounds = []
    held_scenes = _held_scenes(scenes, split)
    for scene in scenes:
        whole = (scene.grid.whole,) if scene.name in held_scenes else ()
        grounds.append(Ground(scene.grid.shape, whole, whole))
    return tuple(grounds)


def each_fold(settings: TrainSettings) -> tuple[TrainSettings, ...]:
    """The settings of every fold: together their validation is the whole data set, once.

    Raises:
        SettingsError: if the settings do not speak of folds.
    """
    split = settings.data.validation
    if split is None or split.folds is None:
        raise SettingsError(f"{FIELD}: has no folds; say for example folds: 5, by: scene")
    return tuple(
        settings.model_copy(
            update={
                "data": settings.data.model_copy(
                    update={"validation": split.model_copy(update={"fold": k})}
                )
            }
        )
        for k in range(split.folds)
    )


def deal(sizes: Mapping[str, int], folds: int) -> tuple[tuple[str, ...], ...]:
    """Groups to folds: the largest group first, always into the smallest fold.

    Groups of one size come in the order of ``sizes``. That is Graham's longest-processing-time
    rule (1969): the largest fold is at most 4/3 of the best possible.

    Raises:
        SettingsError: if there are fewer groups than folds.
    """
    if len(sizes) < folds:
        raise SettingsError(
            f"{FIELD}.folds is {folds}, but there are only {len(sizes)} groups "
            f"({_some(list(sizes))}); ask for fewer folds"
        )
    dealt: list[list[str]] = [[] for _ in range(folds)]
    filled = [0] * folds
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        smallest = filled.index(min(filled))
        dealt[smallest].append(name)
        filled[smallest] += sizes[name]
    return tuple(tuple(fold) for fold in dealt)


def _held_scenes(scenes: Sequence[LabelledScene], split: SplitSettings) -> set[str]:
    """Names of the scenes that are validation: some, but not all."""
    groups = _groups(scenes, split.column)
    if split.folds is not None:
        wanted = set(
            deal({name: _pixels(group) for name, group in groups.items()}, split.folds)[split.fold]
        )
    else:
        wanted = set(split.values or split.scenes)
        _refuse_unknown(sorted(wanted - groups.keys()), list(groups), split.column)
    held = {scene.name for name in wanted for scene in groups[name]}
    if len(held) == len(scenes):
        raise SettingsError(
            f"{FIELD}: {_some(sorted(wanted))} is all of the {len(scenes)} scenes; "
            "training needs some too"
        )
    return held


def _groups(scenes: Sequence[LabelledScene], column: str | None) -> dict[str, list[LabelledScene]]:
    """The scenes by name, or by their value of a column of the table; ordered by name."""
    groups: dict[str, list[LabelledScene]] = {}
    for scene in scenes:
        if column is not None and column not in scene.row:
            columns = ", ".join(scene.row) or "no table is given"
            raise SettingsError(
                f"{FIELD}: no column {column} in the table (it has: {columns}); see data.table"
            )
        groups.setdefault(scene.row[column] if column else scene.name, []).append(scene)
    return dict(sorted(groups.items()))


def _refuse_unknown(missing: list[str], known: list[str], column: str | None) -> None:
    if missing:
        raise SettingsError(
            f"{FIELD}: {f'{column} of no scene is' if column else 'no scene is called'} "
            f"{_some(missing)}; there is {_some(known)}"
        )


def _pixels(group: Sequence[LabelledScene]) -> int:
    return sum(scene.grid.shape[0] * scene.grid.shape[1] for scene in group)


def _buffer(blocks: BlockSettings, settings: TrainSettings) -> int:
    """The distance that training keeps from validation blocks."""
    needed = radius(settings.architecture)
    if blocks.size < settings.chip:
        raise SettingsError(
            f"{FIELD}.blocks.size {blocks.size} is below chip {settings.chip}: a chip must fit "
            f"into a block; set it to {settings.chip} or more"
        )
    if blocks.buffer is not None and blocks.buffer < needed:
        raise SettingsError(
            f"{FIELD}.blocks.buffer {blocks.buffer} is below the network's receptive radius: set "
            f"it to {needed} or more, or leave it out"
        )
    return needed if blocks.buffer is None else blocks.buffer


def _held_blocks(
    scenes: Sequence[LabelledScene], split: SplitSettings, settings: BlockSettings
) -> list[Block]:
    size = settings.size
    places = dict.fromkeys(_places(scenes))
    blocks = [Block(p, w) for p in places for w in _lattice(scenes[p].grid.shape, size)]
    order = np.random.default_rng(split.seed).permutation(len(blocks))
    drawn = [blocks[k] for k in order]
    if split.folds is None:
        count = max(1, round(settings.share * len(drawn)))
        if count >= len(drawn):
            raise SettingsError(
                f"{FIELD}.blocks: size {size} cuts the scenes into only {len(drawn)} blocks; "
                "choose a smaller size"
            )
        return drawn[:count]
    by_name = {block.name: block for block in drawn}
    sizes = {name: _area(block.window) for name, block in by_name.items()}
    return [by_name[name] for name in deal(sizes, split.folds)[split.fold]]


def _by_blocks(
    scenes: Sequence[LabelledScene], held: list[Block], buffer: int
) -> tuple[Ground, ...]:
    grounds = []
    for scene, place in zip(scenes, _places(scenes), strict=True):
        windows = [block.window for block in held if block.place == place]
        windows.sort(key=lambda w: (w[0].start, w[1].start))
        shape = scene.grid.shape
        grounds.append(Ground(shape, tuple(windows), widened(tuple(windows), buffer)))
    return tuple(grounds)


def _places(scenes: Sequence[LabelledScene]) -> list[int]:
    """For each scene, the first that has its grid; one without a place is its own."""
    first: dict[object, int] = {}
    places = []
    for k, scene in enumerate(scenes):
        grid = scene.grid
        where = (grid.shape, tuple(grid.transform), grid.crs.to_wkt())
        places.append(first.setdefault(where if scene.georeferenced else k, k))
    return places


def _lattice(shape: tuple[int, int], size: int) -> list[Window]:
    """Blocks of at least ``size`` that partition the scene: the last take the remainder."""
    spans = []
    for length in shape:
        starts = [k * size for k in range(max(1, length // size))]
        spans.append([slice(a, b) for a, b in zip(starts, [*starts[1:], length], strict=True)])
    return list(product(*spans))


def _area(window: Window) -> int:
    rows, cols = window
    return (rows.stop - rows.start) * (cols.stop - cols.start)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
