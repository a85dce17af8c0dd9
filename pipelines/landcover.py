"""Map many scenes as one: a mosaic of land cover, one raster and one vector file.

    geounet landcover SCENE [SCENE...] OUT --model MODEL

writes mask.tif, features.gpkg, report.html and report.json. The map has the CRS and the pixels of
the first scene, and is as large as all of them together. Where scenes overlap, each pixel gets the
class of the scene whose network is surest of it, and of equal ones the first; --overlap first takes
the first scene that has data there. docs/landcover.md says what that means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geounet.mosaic import mosaic
from geounet.outputs import Results
from geounet.reporting import Reporter
from geounet.settings import LandcoverSettings


def landcover(
    scenes: Sequence[str | Path],
    out: str | Path,
    model: str | Path,
    settings: LandcoverSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Map scenes into the folder ``out``, on one grid."""
    return mosaic(scenes, model, out, settings or LandcoverSettings(), reporter)
