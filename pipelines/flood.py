"""Map a flood from two scenes: what was water before and after, what is newly flooded.

    geounet flood BEFORE AFTER OUT

writes mask.tif, features.gpkg, report.html and report.json, and with --zones zones.csv: flooded
hectares per district. Water on both dates is not permanent water: give --permanent-water FILE to
tell it. docs/floods.md says what the map cannot know.
"""

from __future__ import annotations

from pathlib import Path

from geounet.card import LandClass
from geounet.change import Made, change
from geounet.change_preparation import Question
from geounet.change_rules import ChangeRule
from geounet.change_settings import FloodSettings
from geounet.outputs import Results
from geounet.reporting import Reporter
from geounet.zone_table import write_zone_table

BOTH, NEW, RECEDED, DRY, PERMANENT = 1, 2, 3, 4, 5
CLASSES = (
    LandClass(value=BOTH, name="water on both dates", colour="#1f4e9e"),
    LandClass(value=NEW, name="newly flooded", colour="#e8433a"),
    LandClass(value=RECEDED, name="receded", colour="#f2b134"),
    LandClass(value=DRY, name="dry", colour="#e6e2d3"),
)
LASTING = LandClass(value=PERMANENT, name="permanent water", colour="#0b1f4b")


def flood(
    before: str | Path,
    after: str | Path,
    out: str | Path,
    model: str | Path = "water",
    settings: FloodSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Compare water of two scenes into the folder ``out``, on the grid of ``before``."""
    settings = settings or FloodSettings()
    return change([before, after], model, out, question(settings), settings, reporter)


def question(settings: FloodSettings) -> Question:
    """What a flood asks of two dates."""
    rule = ChangeRule(
        both=BOTH,
        appeared=NEW,
        gone=RECEDED,
        neither=DRY,
        marked=PERMANENT if settings.permanent_water else None,
        threshold=settings.threshold,
    )
    classes = (*CLASSES, LASTING) if settings.permanent_water else CLASSES
    tables = {"zones.csv": zone_table} if settings.zones else {}
    return Question("Flood", classes, rule, marks=settings.permanent_water, further=tables)


def zone_table(made: Made) -> Path:
    """zones.csv: hectares of each class in each zone, and the share that is newly flooded."""
    return write_zone_table(made.out / "zones.csv", made, "newly flooded", (NEW,))
