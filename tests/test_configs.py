"""The configurations that come with geounet: they load, and the template has every setting."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geounet.card import Frozen
from geounet.learn.train_settings import TrainSettings, load_settings

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TEMPLATE = next(path for path in CONFIGS if path.stem == "template")
OWN = {"network.base_filters", "data.validation"}
"""What the template says otherwise than the default, as its comments tell."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads(path):
    assert load_settings(path).architecture.bands >= 2


def fields_of(model: Frozen, prefix: str = "") -> dict[str, object]:
    """Every setting with its default, by its place in the file: ``network.depth``."""
    found: dict[str, object] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        inner = isinstance(value, Frozen) and not field.is_required()
        found |= fields_of(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return found


def test_the_template_has_every_setting_at_its_default():
    written = yaml.safe_load(TEMPLATE.read_text())
    required = {key: written[key] for key in ("name", "classes")}
    data = {key: written["data"][key] for key in ("images", "labels", "bands")}
    plain = TrainSettings.model_validate(required | {"data": data})
    template = TrainSettings.model_validate(written)
    here, default = (
        fields_of(s) | {f"data.{k}": v for k, v in fields_of(s.data).items()}
        for s in (template, plain)
    )
    for place, value in default.items():
        section, _, name = place.rpartition(".")
        parts = section.split(".") if section else []
        level = written
        for part in parts:
            level = level[part]
        assert name in level, f"the template lacks {place}"
        if place not in OWN and place != "data":
            assert here[place] == value, place
