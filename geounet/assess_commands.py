"""What ``geounet assess`` does: arguments become settings, settings become one call.

Every command is imported when it is called, and imports what it runs: see cli.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from geounet.assess.settings import DesignSettings, EstimateSettings
from geounet.commands import Flat, Talk, Talking


def design(
    map: Annotated[str, Parameter(help="class raster, made here or elsewhere")],
    out: Annotated[str, Parameter(help="GeoPackage of points to write: .gpkg")],
    *,
    settings: Annotated[DesignSettings, Flat] = DesignSettings(),
    talk: Talking = Talk(),
) -> None:
    """Draw a probability sample of a map's pixels to interpret; how it was drawn lies beside it."""
    from geounet.assess.design import design_sample
    from geounet.assess_tables import print_design
    from geounet.progress import make_reporter

    reporter = make_reporter(talk.progress, talk.quiet)
    found = design_sample(map, Path(out), settings, reporter)
    if not talk.quiet:
        print_design(found, Path(out))


def estimate(
    points: Annotated[str, Parameter(help="GeoPackage of `assess design`, filled in")],
    map: Annotated[str, Parameter(name="--map", help="class raster that is judged")],
    *,
    settings: Annotated[EstimateSettings, Flat] = EstimateSettings(),
    talk: Talking = Talk(),
) -> None:
    """Accuracy and areas with 95 % intervals, from interpreted points; tables on stdout."""
    from geounet.assess.estimate import estimate_accuracy
    from geounet.assess_tables import print_accuracy
    from geounet.progress import make_reporter

    reporter = make_reporter(talk.progress, talk.quiet)
    found = estimate_accuracy(points, map, settings, reporter)
    if not talk.quiet:
        print_accuracy(found)
