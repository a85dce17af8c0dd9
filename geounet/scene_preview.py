"""A picture of a finished job, from a decimated image and mask."""

from __future__ import annotations

from pathlib import Path

from geounet.job_report import decimation, image_of, labels_of, outlines_of
from geounet.outputs import Results
from geounet.preview import Preview, write_preview
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions


def preview_scene(
    path: Path,
    scene: str | Path,
    results: Results,
    *,
    title: str,
    note: str = "",
    options: SceneOptions | None = None,
) -> None:
    """Draw image, mask and outlines of all classes but the first, which is the background."""
    opened = open_scene(scene, options or SceneOptions())
    grid, step = opened.grid, decimation(opened.grid)
    outlines, outlined = outlines_of(results, grid, step)
    picture = Preview(
        image_of(opened, step),
        labels_of(results, grid, step),
        results.legend,
        outlines[outlined != results.legend[0].value],
        title,
        note,
    )
    write_preview(path, picture)
