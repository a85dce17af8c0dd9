"""From a scene to its map: check, plan, label tiles, write what a job writes.

Two hops from the command to the inner loop: ``segment`` here, ``engine.run`` there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely

from geounet.errors import GeounetError, InputError, InterruptedJobError
from geounet.fit import stretched
from geounet.labelling import Work, label_tiles
from geounet.map_job import Recipe, make_map
from geounet.model_file import load_model
from geounet.outputs import Results, output_names, write_rasters_and_vectors
from geounet.preparation import Prepared, fingerprint, forward_of, prepare, with_window_of
from geounet.reporting import Reporter, Silence
from geounet.scene import open_scene
from geounet.settings import SegmentSettings


def segment(
    scene: str | Path,
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Segment one scene into the folder ``out``: mask, polygons, report.

    Args:
        scene: a raster, a product folder or a scene.yaml.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        settings: how to read, segment and write.
        reporter: is told of notes and progress.

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

    return make_map(Path(out), output_names(settings), settings, after, reporter or Silence())


def segment_all(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    reporter: Reporter | None = None,
) -> Iterator[tuple[str, Results | GeounetError]]:
    """Segment several scenes, each into ``out``/SCENE; one that fails does not stop the others.

    Yields:
        A scene as given, and its results or why it failed. An interrupt ends all.
    """
    load_model(model)
    taken: dict[str, str] = {}
    for scene in map(str, scenes):
        try:
            name = open_scene(scene, settings).name
            if name in taken:
                raise InputError(
                    f"{scene}: is called {name}, as {taken[name]} is; segment it on its own"
                )
            taken[name] = scene
            yield scene, segment(scene, model, Path(out) / name, settings, reporter)
        except InterruptedJobError:
            raise
        except GeounetError as error:
            yield scene, error


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
