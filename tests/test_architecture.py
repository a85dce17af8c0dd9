"""The layers: imports point down only, and ARCHITECTURE.md names every module."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "geounet"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem != "__init__")
CORE = {
    "area", "blocks", "card", "compiling", "ensemble", "errors", "grid", "indices", "networks",
    "polygonize", "predict", "features", "node_lattice", "polygon_array", "polygons.arcs",
    "polygons.cell",
    "polygons.clean", "polygons.collect", "polygons.compiled", "polygons.cracks", "polygons.emit",
    "polygons.join", "polygons.lattice", "polygons.lines", "polygons.measures", "polygons.rank",
    "polygons.regions", "polygons.store", "polygons.survey", "polygons.thin", "polygons.trace",
    "resnet_unet", "sensors", "style", "unet", "learn.augment", "learn.block_index",
    "change_rules", "shift", "synthetic", "synthetic_noise", "learn.border", "learn.boundary",
    "learn.calibration", "learn.chip_source", "learn.geometry", "learn.ground", "learn.intervals",
    "learn.light", "learn.losses", "learn.metrics", "learn.optimiser", "learn.plot_style",
    "learn.plots", "learn.sampling", "learn.scores", "learn.standing", "assess.allocation",
    "assess.assessment", "assess.cautions", "assess.classes", "assess.estimators", "assess.form",
    "assess.intervals", "assess.olofsson", "assess.sample", "assess.stehman",
}  # fmt: skip
SETTINGS = {
    "change_settings", "reporting", "scene_options", "settings", "settings_file", "small_file",
    "vector_settings", "yaml_file",
    "learn.augment_settings",
    "learn.data_settings", "learn.evaluate_settings", "learn.label_settings",
    "learn.loss_settings", "learn.network_settings", "learn.optimiser_settings",
    "learn.split_settings", "learn.train_settings", "assess.settings",
}  # fmt: skip
FLOW = {
    "change", "change_labelling", "change_preparation", "loss_dates", "scene_shift",
    "zone_table",
    "doctor", "engine", "fit", "forward", "job_report", "labelling", "outputs", "planning",
    "preparation", "scene_histogram", "scene_preview", "segmentation", "stop", "tile_job",
    "trace_work", "tracing", "vectorization",
    "map_job", "mosaic", "mosaic_labelling",
    "learn.counting", "learn.devices", "learn.evaluation", "learn.evaluation_report",
    "learn.identity", "learn.learner", "learn.loop", "learn.prefetch", "learn.remat",
    "learn.scoring", "learn.stepper", "learn.training", "learn.training_data",
    "learn.training_report", "learn.validation", "assess.design", "assess.estimate",
}  # fmt: skip
TOP = {
    "assess_commands", "assess_tables", "cli", "commands", "many_scenes", "pipeline_commands",
    "progress",
    "tables",
}  # fmt: skip
RANK = {
    **dict.fromkeys(CORE | SETTINGS, 0),
    **dict.fromkeys(FLOW, 2),
    **dict.fromkeys(TOP, 3),
}
FILES = {"rasterio", "pyogrio", "safetensors", "distributed", "dask", "geopandas"}
PURE_PARTS = {"rasterio.crs", "rasterio.features"}


def name_of(path):
    """``learn.losses`` for geounet/learn/losses.py."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports_of(path):
    """Modules imported at the top of a file, in full."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down_only(path):
    for name in imports_of(path):
        if name.startswith("geounet."):
            other = name.removeprefix("geounet.")
            rank = RANK.get(name_of(path), 1)
            assert RANK.get(other, 1) <= rank, f"{name_of(path)} imports {other}"


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p) in CORE], ids=name_of)
def test_the_core_knows_neither_files_nor_dask(path):
    for name in imports_of(path):
        assert name in PURE_PARTS or name.split(".")[0] not in FILES, f"{path.stem}: {name}"


def test_the_architecture_page_names_every_module():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    missing = [name_of(path) for path in MODULES if f"`{path.relative_to(PACKAGE)}`" not in page]
    assert not missing


def test_only_the_command_line_prints():
    for path in MODULES:
        calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert path.stem in ("cli", "commands", "many_scenes") or "print" not in names, path.stem
        assert not names & {"eval", "exec"}, path.stem


def test_the_calls_of_the_package_are_functions_whatever_was_imported_before():
    import geounet
    import geounet.learn.training
    import geounet.segmentation
    import geounet.vectorization

    for name in geounet.__all__:
        assert callable(getattr(geounet, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = geounet.nonsense


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_what_benchmarks_take_from_the_package_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geounet"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                there = hasattr(module, alias.name)
                assert there or importlib.util.find_spec(f"{node.module}.{alias.name}"), alias.name
