"""What ``geounet flood``, ``deforestation`` and ``landcover`` do: arguments become one call.

Every command is imported when it is called, and imports what it runs: see cli.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.commands import Bands, Flat, Talk, Talking, with_bands
from geounet.errors import SettingsError
from geounet.settings import LandcoverSettings
from geounet.settings_file import with_file

Config = Annotated[
    str | None, Parameter(help="YAML file of settings, named as the flags; flags come first")
]
Model = Annotated[str, Parameter(help="name of a shipped model, or a .safetensors file")]
First = Annotated[str, Parameter(help="scene of the first date; the map lies on its grid")]


def flood(
    before: First,
    after: Annotated[str, Parameter(help="scene of the second date")],
    out: Annotated[str, Parameter(help="new folder for the map, its polygons and tables")],
    model: Model = "water",
    band: Bands = (),
    config: Config = None,
    settings: Annotated[FloodSettings, Flat] = FloodSettings(),
    talk: Talking = Talk(),
) -> None:
    """Compare water of two dates: newly flooded, receded, on both; mask, polygons, report."""
    from geounet.pipelines.flood import flood as run_flood
    from geounet.progress import make_reporter
    from geounet.tables import print_results

    reporter = make_reporter(talk.progress, talk.quiet)
    given = with_file(with_bands(settings, band) if band else settings, config)
    print_results(run_flood(before, after, Path(out), model, given, reporter))


def deforestation(
    *paths: Annotated[str, Parameter(help="BEFORE AFTER [LATER...] OUT: scenes, the oldest first")],
    model: Model = "forest",
    band: Bands = (),
    config: Config = None,
    settings: Annotated[DeforestationSettings, Flat] = DeforestationSettings(),
    talk: Talking = Talk(),
) -> None:
    """Compare forest of two dates or more: loss, gain; mask, polygons, alerts, report."""
    from geounet.pipelines.deforestation import deforestation as run_deforestation
    from geounet.progress import make_reporter
    from geounet.tables import print_results

    if len(paths) < 3:
        raise SettingsError("give BEFORE AFTER [LATER...] OUT: scenes first, the output last")
    if not all(paths):
        raise SettingsError("a path is empty; is a variable of the shell not set?")
    *scenes, out = paths
    reporter = make_reporter(talk.progress, talk.quiet)
    given = with_file(with_bands(settings, band) if band else settings, config)
    print_results(run_deforestation(scenes, Path(out), model, given, reporter))


def landcover(
    *paths: Annotated[str, Parameter(help="SCENE [SCENE...] OUT: the map has the first's grid")],
    model: Model,
    band: Bands = (),
    config: Config = None,
    settings: Annotated[LandcoverSettings, Flat] = LandcoverSettings(),
    talk: Talking = Talk(),
) -> None:
    """Map many scenes as one: mask, polygons, report; one class a pixel where they overlap."""
    from geounet.pipelines.landcover import landcover as run_landcover
    from geounet.progress import make_reporter
    from geounet.tables import print_results

    if len(paths) < 2:
        raise SettingsError("give SCENE [SCENE...] OUT: scenes first, the output last")
    if not all(paths):
        raise SettingsError("a path is empty; is a variable of the shell not set?")
    *scenes, out = paths
    reporter = make_reporter(talk.progress, talk.quiet)
    given = with_file(with_bands(settings, band) if band else settings, config)
    print_results(run_landcover(scenes, Path(out), model, given, reporter))
