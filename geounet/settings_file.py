"""The settings of a job in a YAML file, with the names of the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from geounet.errors import SettingsError
from geounet.settings import JobSettings
from geounet.yaml_file import read_mapping

Settings = TypeVar("Settings", bound=JobSettings)


def with_file(given: Settings, path: str | None) -> Settings:
    """The settings of a YAML file, under what was given on the command line.

    Names are those of the flags, with ``-`` or ``_``.

    Raises:
        SettingsError: if the file cannot be read, or a setting is unknown or wrong.
    """
    if path is None:
        return given
    told = given.model_dump(include=given.model_fields_set)
    try:
        return type(given).model_validate({**_read(Path(path)), **told})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place, text = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{path}: {place or 'settings'}: {text}; see --help") from error


def _read(path: Path) -> dict[str, Any]:
    """Settings by field; ``format`` is the flag of the formats."""
    found = read_mapping(path, "settings file", SettingsError)
    names = {str(name).replace("-", "_"): value for name, value in found.items()}
    return {{"format": "formats"}.get(name, name): value for name, value in names.items()}
