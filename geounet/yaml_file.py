"""YAML of a file that a person wrote, without YAML's dangers."""

from __future__ import annotations

from collections.abc import Iterator
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
        found = _loaded(path, text, wrong)
    except GeounetError:
        raise
    except Exception as error:
        # Dates, numbers and depths that it cannot make leave PyYAML as errors of many kinds.
        cause = " ".join(str(error).split())
        raise wrong(f"{path}: is not YAML: {cause}; mend that line") from error
    if not isinstance(found, dict):
        raise wrong(f"{path}: holds no named values; a {what} is lines of `name: value`")
    return found


def _loaded(path: Path, text: bytes, wrong: type[GeounetError]) -> Any:
    """As ``yaml.safe_load``, which would take the last of two values of one name."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        for mapping in _mappings(root):
            _refuse_twice(path, mapping, loader, wrong)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Every mapping below a node, once, however often aliases name it."""
    left, seen = [root], set[int]()
    while left:
        node = left.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            left += [part for pair in node.value for part in pair]
        else:
            left += node.value


def _refuse_twice(
    path: Path, mapping: yaml.MappingNode, loader: yaml.SafeLoader, wrong: type[GeounetError]
) -> None:
    lines: dict[Any, int] = {}
    for key, _ in mapping.value:
        # What `<<` merges in is there to be overridden, and may come from several.
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        name, line = loader.construct_object(key), key.start_mark.line + 1
        if name in lines:
            raise wrong(
                f"{path}: line {line}: {key.value} is there already, in line {lines[name]}; "
                "keep one of the two"
            )
        lines[name] = line
