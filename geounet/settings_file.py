"""The settings of a job in a YAML file, with the names of the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from geounet.errors import SettingsError
from geounet.settings import JobSettings
from geounet.yaml_file import read_mapping

Settings = TypeVar("Settings", bound=JobSettings)

OF_ONE_RUN = ("dry_run", "config", "quiet", "debug", "progress")
"""Flags that say how a command is run, and nothing of its map."""


def with_file(given: Settings, path: str | None) -> Settings:
    """The settings of a YAML file, under what was given on the command line.

    Names are those of the flags, with ``-`` or ``_``. One value may stand for a list of one.

    Raises:
        SettingsError: if the file cannot be read, or a setting is unknown or wrong.
    """
    if path is None:
        return given
    found = _read(path)
    found.pop("model", None)
    fields = type(given).model_fields
    values = {n: _as(fields[n].annotation, v) if n in fields else v for n, v in found.items()}
    told = given.model_dump(include=given.model_fields_set)
    try:
        return type(given).model_validate({**values, **told})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place, text = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{path}: {place or 'settings'}: {text}; see --help") from error


def model_of(given: str | None, path: str | None, usual: str | None = None) -> str:
    """The model of the command line, or else of the YAML file, or else the usual one.

    Raises:
        SettingsError: if there is none, or the file cannot be read.
    """
    model = given or (_read(path).get("model") if path else None) or usual
    if not isinstance(model, str):
        raise SettingsError(
            "no model is given: say --model with the name of a shipped one (`geounet models list`) "
            "or a .safetensors file, or model: in the settings file"
        )
    return model


def _read(path: str) -> dict[str, Any]:
    """Settings by field; ``format`` and ``band`` are flags of formats and bands."""
    found = read_mapping(Path(path), "settings file", SettingsError)
    values = {str(name).replace("-", "_"): value for name, value in found.items()}
    wrong = [name for name in OF_ONE_RUN if name in values]
    if wrong:
        raise SettingsError(
            f"{path}: {wrong[0]}: says how a command is run; give it on the command line"
        )
    if "band" in values:
        values["bands"] = _bands(path, values.pop("band"))
    return {{"format": "formats"}.get(name, name): value for name, value in values.items()}


def _bands(path: str, band: Any) -> dict[str, str]:
    texts = [band] if isinstance(band, str) else band
    try:
        return dict(text.split("=", 1) for text in texts)
    except (AttributeError, TypeError, ValueError):
        raise SettingsError(f"{path}: band: write name=source, as in [blue=B02.jp2]") from None


def _as(kind: Any, value: Any) -> Any:
    """A value of YAML as a flag would give it: a list of one, and a number as text."""
    if get_origin(kind) is tuple:
        values = value if isinstance(value, list) else [value]
        return [_as(get_args(kind)[0], item) for item in values]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and _takes_text(kind) else value


def _takes_text(kind: Any) -> bool:
    return kind is str or any(_takes_text(part) for part in get_args(kind))
