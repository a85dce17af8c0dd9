"""Map where forest went between two dates or more, and write an alert for each place.

    geounet deforestation BEFORE AFTER [LATER ...] OUT

writes mask.tif, features.gpkg, alerts.gpkg, alerts.csv, report.html and report.json; with more than
two dates also loss_date.tif, which says since which date the forest is gone. Areas below 0.5 ha
give no polygon and no alert. docs/deforestation.md says what the map cannot know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from geounet.alerts import AlertSource, write_alert_table, write_alerts
from geounet.card import LandClass
from geounet.change import Made, change
from geounet.change_preparation import Question, dates_of
from geounet.change_rules import ChangeRule
from geounet.change_settings import DeforestationSettings
from geounet.loss_dates import loss_classes, write_loss_dates
from geounet.outputs import Results
from geounet.reporting import Reporter
from geounet.vectorization import chosen_values
from geounet.zone_table import write_zone_table

STABLE, GAIN, OTHER, LOSS = 1, 2, 3, 10
CLASSES = (
    LandClass(value=STABLE, name="stable forest", colour="#1b7837"),
    LandClass(value=GAIN, name="gain", colour="#7fbf7b"),
    LandClass(value=OTHER, name="stable other", colour="#e6e2d3"),
)


def deforestation(
    scenes: Sequence[str | Path],
    out: str | Path,
    model: str | Path = "forest",
    settings: DeforestationSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Compare forest of scenes, the oldest first, into the folder ``out``.

    A loss at date number k, from 0, has the class value 10 + k.
    """
    settings = settings or DeforestationSettings()
    return change(scenes, model, out, question(scenes, settings), settings, reporter)


def question(scenes: Sequence[str | Path], settings: DeforestationSettings) -> Question:
    """What a clearing asks of two dates or more.

    Raises:
        InputError: if a scene cannot be opened, for its date.
    """
    dates = dates_of(scenes, settings)
    losses = loss_classes(LOSS, dates)
    files: dict[str, Callable[[Made], Path]] = {}
    if len(scenes) > 2:
        files["loss_date.tif"] = lambda made: write_loss_dates(made, losses, LOSS)
    told = _told(losses, dates, settings)
    if told and "gpkg" in settings.formats:
        files["alerts.gpkg"] = lambda made: write_alerts(*alerts(made, "gpkg", told))
        files["alerts.csv"] = lambda made: write_alert_table(*alerts(made, "csv", told))
    if settings.zones:
        values = [loss.value for loss in losses]
        files["zones.csv"] = lambda made: zone_table(made, values)
    rule = ChangeRule(STABLE, GAIN, LOSS, OTHER, dated=True, threshold=settings.threshold)
    return Question("Deforestation", (*CLASSES, *losses), rule, in_order=True, further=files)


def _told(
    losses: Sequence[LandClass], dates: Sequence[str | None], settings: DeforestationSettings
) -> dict[int, str]:
    """The losses that become polygons, and so alerts, with the date of each, or its number."""
    chosen = chosen_values(settings.classes, (*CLASSES, *losses))
    return {
        loss.value: dates[number] or f"date {number + 1}"
        for number, loss in enumerate(losses, 1)
        if chosen is None or loss.value in chosen
    }


def alerts(made: Made, ending: str, dates: Mapping[int, str]) -> tuple[Path, AlertSource]:
    """A file of alerts, and the features that they are: those of the losses."""
    source = AlertSource(made.out / "features.gpkg", made.source.grid, dates)
    return made.out / f"alerts.{ending}", source


def zone_table(made: Made, losses: Sequence[int]) -> Path:
    """zones.csv: hectares of each class in each zone, and the share that was lost."""
    return write_zone_table(made.out / "zones.csv", made, "loss", losses)
