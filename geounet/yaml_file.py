"""YAML of a file that a person wrote, without YAML's dangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from geounet.errors import GeounetError
from geounet.small_file import read_small

SIZE_LIMIT = 2**20


def read_mapping(
    path: Path, what: str, wrong: type[GeounetError], *, aliases: bool = False
) -> dict[Any, Any]:
    """The named values in a file of at most 1 MB; only the tags of plain values are followed.

    Args:
        path: the file.
        what: it should be, as in "scene.yaml".
        wrong: the error of a file that is none.
        aliases: True for a file that only its user writes; others may send gigabytes by them.

    Raises:
        InputError: if the file cannot be read.
        GeounetError: ``wrong``, naming the file, what is the matter with it, and the way out.
    """
    text = read_small(path, SIZE_LIMIT, what, wrong)
    try:
        if not aliases and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise wrong(f"{path}: uses YAML aliases, which are not read; write values out")
        found = yaml.safe_load(text)
    except GeounetError:
        raise
    except Exception as error:
        # Dates, numbers and depths that it cannot make leave PyYAML as errors of many kinds.
        cause = " ".join(str(error).split())
        raise wrong(f"{path}: is not YAML: {cause}; mend that line") from error
    if not isinstance(found, dict):
        raise wrong(f"{path}: holds no named values; a {what} is lines of `name: value`")
    return found
