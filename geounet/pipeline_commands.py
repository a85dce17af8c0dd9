"""What ``geounet flood``, ``deforestation`` and ``landcover`` do: arguments become one call.

Every command is imported when it is called, and imports what it runs: see cli.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter

from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.commands import (
    Bands,
    Flat,
    Talk,
    Talking,
    checked_paths,
    reporter_of,
    with_bands,
)
from geounet.settings import JobSettings, LandcoverSettings
from geounet.settings_file import model_of, with_file

Config = Annotated[
    str | None, Parameter(help="YAML file of settings, named as the flags; flags come first")
]
_MODEL = "name of a shipped model, or a .safetensors file"
First = Annotated[str, Parameter(help="scene of the first date; the map lies on its grid")]


DryRun = Annotated[bool, Parameter(help="print tiles, memory and disk, and stop")]
Settings = TypeVar("Settings", bound=JobSettings)


def flood(
    before: First,
    after: Annotated[str, Parameter(help="scene of the second date")],
    out: Annotated[str, Parameter(help="new folder for the map, its polygons and tables")],
    *,
    model: Annotated[str | None, Parameter(help=f"{_MODEL}; water if none is given")] = None,
    band: Bands = (),
    config: Config = None,
    dry_run: DryRun = False,
    settings: Annotated[FloodSettings, Flat] = FloodSettings(),
    talk: Talking = Talk(),
) -> None:
    """Compare water of two dates: newly flooded, receded, on both; mask, polygons, report."""
    from geounet.change_preparation import prepare_change
    from geounet.pipelines import flood as pipeline
    from geounet.tables import print_plan, print_results_of

    given = _given(settings, band, config)
    model = model_of(model, config, "water")
    if dry_run:
        print_plan(prepare_change([before, after], model, pipeline.question(given), given))
    else:
        print_results_of(
            lambda: pipeline.flood(before, after, Path(out), model, given, reporter_of(talk))
        )


def deforestation(
    *paths: Annotated[str, Parameter(help="BEFORE AFTER [LATER...] OUT: scenes, the oldest first")],
    model: Annotated[str | None, Parameter(help=f"{_MODEL}; forest if none is given")] = None,
    band: Bands = (),
    config: Config = None,
    dry_run: DryRun = False,
    settings: Annotated[DeforestationSettings, Flat] = DeforestationSettings(),
    talk: Talking = Talk(),
) -> None:
    """Compare forest of two dates or more: loss, gain; mask, polygons, alerts, report."""
    from geounet.change_preparation import prepare_change
    from geounet.pipelines import deforestation as pipeline
    from geounet.tables import print_plan, print_results_of

    *scenes, out = checked_paths(paths, "BEFORE AFTER [LATER...] OUT", least=3)
    given = _given(settings, band, config)
    model = model_of(model, config, "forest")
    if dry_run:
        question = pipeline.question(scenes, given)
        print_plan(prepare_change(scenes, model, question, given))
    else:
        print_results_of(
            lambda: pipeline.deforestation(scenes, Path(out), model, given, reporter_of(talk))
        )


def landcover(
    *paths: Annotated[str, Parameter(help="SCENE [SCENE...] OUT: the map has the first's grid")],
    model: Annotated[str | None, Parameter(help=_MODEL)] = None,
    band: Bands = (),
    config: Config = None,
    dry_run: DryRun = False,
    settings: Annotated[LandcoverSettings, Flat] = LandcoverSettings(),
    talk: Talking = Talk(),
) -> None:
    """Map many scenes as one: mask, polygons, report; one class a pixel where they overlap."""
    from geounet.mosaic import prepare_mosaic
    from geounet.pipelines import landcover as pipeline
    from geounet.tables import print_plan, print_results_of

    *scenes, out = checked_paths(paths, "SCENE [SCENE...] OUT")
    given = _given(settings, band, config)
    model = model_of(model, config)
    if dry_run:
        print_plan(prepare_mosaic(scenes, model, given))
    else:
        print_results_of(
            lambda: pipeline.landcover(scenes, Path(out), model, given, reporter_of(talk))
        )


def _given(settings: Settings, band: tuple[str, ...], config: str | None) -> Settings:
    return with_file(with_bands(settings, band) if band else settings, config)
