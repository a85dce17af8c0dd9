"""Writes docs/commands.md, every command and flag, from the settings: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from geounet.cli import _make_app

PAGE = Path(__file__).with_suffix(".md")
NOTE = "<!-- Made by `make docs` from the settings in geounet/; change those. -->\n\n"


def text() -> str:
    """The page, as the settings have it now."""
    return NOTE + _make_app().generate_docs(output_format="markdown").strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
