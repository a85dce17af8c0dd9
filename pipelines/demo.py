"""Map water on the small Sentinel-2 scene that comes with geounet.

    geounet demo geounet-demo

ends in under a minute with mask.tif, polygons in three formats, preview.png and a table of
hectares. It is also the shortest recipe to copy for a job of your own: open, segment, look.
"""

from __future__ import annotations

from pathlib import Path

import geounet
from geounet.outputs import Results
from geounet.reporting import Reporter
from geounet.scene_preview import preview_scene
from geounet.settings import SegmentSettings

SCENE = Path(geounet.__file__).parent / "demo" / "scene.yaml"
CREDIT = "Contains modified Copernicus Sentinel data 2017"
CAUTION = (
    f"{CREDIT}. The scene is Level-1C (top of the atmosphere), in winter; the model was trained "
    "on surface reflectance. Open water is found, but cloud shadow and ice can be mistaken for it: "
    "for real work use Level-2A and a cloud mask."
)


def demo(out: Path, overwrite: bool, reporter: Reporter) -> tuple[Results, list[str]]:
    """Segment the demo scene into ``out``; returns the results and what to say of them."""
    settings = SegmentSettings(
        formats=("gpkg", "geojson", "shp"), confidence=True, overwrite=overwrite
    )
    results = geounet.segment(SCENE, "water", out, settings, reporter)
    picture = out / "preview.png"
    preview_scene(
        picture, SCENE, results, title="Water, Havel lakes, 16 February 2017", note=CREDIT
    )
    return results, [f"  {picture}", CAUTION]
