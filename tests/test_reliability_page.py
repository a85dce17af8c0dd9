"""docs/reliability.md: a row for every case, and no test that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
CASES = {"A": 7, "B": 17, "C": 8, "D": 12, "E": 13, "F": 5, "G": 11}


def test_every_case_has_one_row():
    rows = re.findall(r"^\| ([A-G]\d+) \|", PAGE, re.MULTILINE)
    assert rows == [f"{part}{k}" for part, count in CASES.items() for k in range(1, count + 1)]


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 100
    missing = [f"{file}::{name}" for file, name in named if name not in functions_of(file)]
    assert not missing


def functions_of(file: str) -> set[str]:
    path = TESTS / file
    if not path.exists():
        return set()
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}
