"""From a scene to its map: check, plan, label tiles, write what a job writes.

Two hops from the command to the inner loop: ``segment`` here, ``engine.run`` there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely

from geounet.errors import GeounetError, InputError, InterruptedJobError, explained
from geounet.fit import stretched
from geounet.labelling import Work, label_tiles
from geounet.locations import shown
from geounet.map_job import Crew, Recipe, assembled, make_map
from geounet.model_file import load_model
from geounet.outputs import Results, output_names, write_rasters_and_vectors
from geounet.preparation import Prepared, fingerprint, forward_of, prepare, with_window_of
from geounet.reporting import Reporter, Silence
from geounet.scene import open_scene
from geounet.settings import SegmentSettings
from geounet.turns import Floor

AT_ONCE = 2
"""Scenes under way: one whose tiles are computed, beside one whose files are written."""


def segment(
    scene: str | Path,
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
    crew: Crew | None = None,
) -> Results:
    """Segment one scene into the folder ``out``: mask, polygons, report.

    Args:
        scene: a raster, a product folder or a scene.yaml.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        settings: how to read, segment and write.
        reporter: is told of notes and progress.
        crew: that does the tiles; without one the settings' is assembled.

    Returns:
        The files written and the area of each class.

    Raises:
        GeounetError: the scene, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    settings = settings or SegmentSettings()
    prepared = prepare(scene, model, settings)

    def after(earlier: Mapping[str, Any]) -> Recipe:
        return _recipe(_with_stretch(with_window_of(prepared, earlier)))

    names = output_names(settings)
    return make_map(Path(out), names, settings, after, reporter or Silence(), crew)


def segment_all(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
) -> Iterator[tuple[str, Results | GeounetError]]:
    """Segment several scenes, each into ``out``/SCENE; one that fails does not stop the others.

    While the files of a scene are written, the tiles of the next are under way, on the same
    workers: no device waits at the border between two scenes.

    Yields:
        A scene as given, and its results or why it failed, in order. An interrupt ends all; so
        does the first failure with ``fail_fast``.
    """
    load_model(model)
    settings, floor = settings or SegmentSettings(), Floor(reporter or Silence())
    with assembled(settings) as crew, ThreadPoolExecutor(AT_ONCE, "geounet-scene") as pool:

        def begin(scene: str, name: str) -> Future[Results]:
            place = Path(out) / name
            return pool.submit(segment, scene, model, place, settings, floor.of(name), crew)

        under_way = deque[tuple[str, Future[Results] | GeounetError]]()
        try:
            for scene, name in _named(scenes, settings):
                begun = name if isinstance(name, GeounetError) else begin(scene, name)
                under_way.append((scene, begun))
                if len(under_way) >= AT_ONCE:
                    yield from _outcome(*under_way.popleft(), settings)
            while under_way:
                yield from _outcome(*under_way.popleft(), settings)
        finally:
            # An error or a stop: scenes that have begun commit what runs, the rest does not begin.
            for _, begun in under_way:
                if isinstance(begun, Future) and not begun.cancel():
                    crew.stop.ask()


def _named(
    scenes: Sequence[str | Path], settings: SegmentSettings
) -> Iterator[tuple[str, str | GeounetError]]:
    """Each scene and its name, or why it cannot have one."""
    taken: dict[str, str] = {}
    for scene in map(str, scenes):
        try:
            name = open_scene(scene, settings).name
        except Exception as error:
            yield scene, explained(error)
            continue
        if name in taken:
            yield (
                scene,
                InputError(
                    f"{shown(scene)}: is called {name}, as {shown(taken[name])} is; "
                    "segment it on its own"
                ),
            )
        else:
            taken[name] = scene
            yield scene, name


def _outcome(
    scene: str, begun: Future[Results] | GeounetError, settings: SegmentSettings
) -> Iterator[tuple[str, Results | GeounetError]]:
    """A scene and its results, or why it failed.

    Raises:
        Exception: of an interrupt; with ``fail_fast`` any.
    """
    try:
        if isinstance(begun, GeounetError):
            raise begun
        while not begun.done():
            # Now and then, as Python hears of a signal only while its main thread runs.
            wait([begun], timeout=0.2)
        yield scene, begun.result()
    except InterruptedJobError:
        raise
    except Exception as error:
        if settings.fail_fast:
            raise
        yield scene, explained(error)


def _with_stretch(prepared: Prepared) -> Prepared:
    """Read the whole scene's percentiles, if the model asks for them."""
    return replace(prepared, fit=stretched(prepared.fit, prepared.model.card))


def _recipe(prepared: Prepared) -> Recipe:
    scene, card = prepared.fit.scene, prepared.model.card
    return Recipe(
        title="Land cover",
        doing="segmenting",
        measure="confidence",
        dates=[[scene]],
        classes=card.classes,
        card=card,
        plan=prepared.plan,
        identity=fingerprint(prepared),
        notes=prepared.notes,
        task=lambda store: partial(label_tiles, _work(store, prepared)),
        write=partial(write_rasters_and_vectors, settings=prepared.settings),
        about=lambda _: {"scene": {"name": scene.name, "date": scene.date, "level": scene.level}},
        forward=_work("", prepared).forward,
    )


def _work(store: str, prepared: Prepared) -> Work:
    return Work(
        scene=prepared.fit.scene,
        forward=forward_of(prepared.model, prepared.fit, prepared.settings),
        layers=prepared.layers,
        store=store,
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )
