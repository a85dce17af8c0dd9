"""The command line: what it answers, how fast, and with which exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio
import yaml

from geounet import cli
from geounet.atomic import placed
from geounet.errors import FEWEST_FILES, OutputError, explained
from geounet.progress import make_reporter
from tests.jobs import make_mixed_scene, make_model, make_scene


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("model") / "drawn.safetensors"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return str(make_scene(tmp_path_factory.mktemp("scene") / "scene.tif"))


def call(*tokens):
    return cli.run([str(token) for token in tokens])


def test_help_loads_no_array_or_raster_library():
    code = (
        "import sys\nfrom geounet.cli import run\nassert run(['--help']) == 0\n"
        "heavy = {'pydantic', 'numpy', 'jax', 'rasterio', 'pyogrio', 'distributed', 'shapely'}\n"
        "loaded = heavy & set(sys.modules)\nassert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "segment" in done.stdout


def test_segment_writes_a_table_to_stdout_and_talk_to_stderr(scene, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("segment", scene, out, "--model", model, "--window", 64) == 0
    printed = capsys.readouterr()
    assert "class 1" in printed.out
    assert "no accuracy assessment" in printed.out
    assert "note:" not in printed.out
    assert "segmenting: 100 %" in printed.err
    with rasterio.open(out / "mask.tif") as file:
        assert file.nodata == 255


def test_quiet_says_nothing_on_stderr_and_json_is_json(scene, model, tmp_path, capsys):
    assert call("segment", scene, tmp_path / "a", "--model", model, "--quiet") == 0
    assert capsys.readouterr().err == ""
    json_lines = ("--progress", "json")
    assert call("segment", scene, tmp_path / "b", "--model", model, *json_lines) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events[-1]["event"] in ("progress", "note")
    assert {"pixels", "total", "pixels_per_second"} <= next(
        e.keys() for e in events if e["event"] == "progress"
    )


def test_dry_run_prints_tiles_memory_and_disk_and_writes_nothing(scene, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("segment", scene, out, "--model", model, "--window", 64, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("tiles", "memory", "disk", "halo 24"))
    assert not out.exists()


def test_several_scenes_of_which_one_fails_end_with_4(scene, model, tmp_path, capsys):
    (tmp_path / "broken.tif").write_text("<html>")
    code = call(
        "segment", tmp_path / "broken.tif", scene, tmp_path / "out", "--model", model,
        "--format", "none",
    )  # fmt: skip
    assert code == 4
    assert "1 of 2 scenes failed" in capsys.readouterr().err
    assert (tmp_path / "out" / "scene" / "mask.tif").exists()


@pytest.mark.parametrize("missing", ["weights.safetensors", "card.yaml"])
def test_a_missing_file_to_import_is_bad_input(missing, tmp_path, capsys):
    files = [tmp_path / "weights.safetensors", tmp_path / "card.yaml"]
    for path in files:
        path.touch()
    (tmp_path / missing).unlink()
    assert cli.run(["models", "import", *map(str, files), str(tmp_path / "out.safetensors")]) == 3
    assert f"{missing}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        (["segment", "a.tif", "--model", "water"], 2, "inputs first, the output last"),
        (["segment", "a.tif", "out"], 2, "model"),
        (["segment", "a", "b", "--model", "m", "--modle"], 2, "Unknown option"),
        (["segment", "a", "b", "--model", "m", "--min-area", "5x"], 2, "--min-area: '5x'"),
        (["segment", "a", "b", "--model", "m", "--overwrite", "--resume"], 2, "choose one"),
        (["segment", "a", "b", "--model", "m", "--workers=2", "--scheduler=a:1"], 2, "choose"),
        (["segment", "a", "b", "--model", "m", "--format", "none", "--format", "shp"], 2, "none"),
        (["nonsense"], 2, "nonsense"),
        (["inspect", "no-such-file.tif"], 3, "no-such-file.tif"),
        (["models", "show", "no-such-model"], 6, "neither a file nor a shipped model"),
    ],
)
def test_exit_codes_and_one_line_errors(tokens, code, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*tokens) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("geounet: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_scene_ends_with_3_and_an_output_that_exists_with_5(
    scene, model, tmp_path, capsys
):
    (tmp_path / "page.tif").write_text("<html>")
    assert call("segment", tmp_path / "page.tif", tmp_path / "o", "--model", model) == 3
    assert call("segment", scene, tmp_path / "o", "--model", model, "--format", "none") == 0
    assert call("segment", scene, tmp_path / "o", "--model", model, "--format", "none") == 5
    assert "exists" in capsys.readouterr().err


def test_bands_are_given_by_name(scene, model, tmp_path, capsys):
    given = ("--band", "blue=1", "--band", "green=2", "--band", "red=3")
    assert call("inspect", scene, "--yaml", *given) == 0
    said = yaml.safe_load(capsys.readouterr().out)
    assert [band["name"] for band in said["bands"]] == ["blue", "green", "red"]
    assert call("inspect", scene, *given) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^(\w+) +(\d) +uint16", shown, re.MULTILINE) == [
        ("blue", "1"),
        ("green", "2"),
        ("red", "3"),
    ]
    assert re.search(r"^crs +EPSG:32633, WGS 84 / UTM zone 33N$", shown, re.MULTILINE)
    assert call("inspect", scene, "--band", "blue") == 2


def test_inspect_names_the_files_of_bands_and_masks_in_eighty_columns(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    mixed = make_mixed_scene(tmp_path / "a folder of a long name, as archives have them")
    assert call("inspect", mixed, "--mask", f"{mixed.parent}/red.tif:values=3,7") == 0
    shown = capsys.readouterr().out
    assert "masks    red.tif:1 values 3, 7\n" in shown
    assert re.search(r"^green +1 +uint16 .* 20 × 20 +green\.tif$", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80


def test_vectorize_takes_a_mask_made_by_segment(scene, model, tmp_path, capsys):
    call("segment", scene, tmp_path / "o", "--model", model, "--format", "none", "--quiet")
    polygons = tmp_path / "polygons.geojson"
    assert call("vectorize", tmp_path / "o" / "mask.tif", polygons, "--min-area", "5px") == 0
    assert "features in" in capsys.readouterr().out
    assert json.loads(polygons.read_text())["type"] == "FeatureCollection"


def test_a_bug_ends_with_1_and_asks_for_a_report(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda *_, **__: 1 / 0)
    assert call("anything", "--debug") == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "this is a bug in geounet" in error


def test_models_and_doctor_answer(capsys):
    assert call("models", "list") == 0
    listed = capsys.readouterr().out
    assert "water  (blue, green, red, nir, swir1, swir2; 0.7 MB)" in listed
    assert "Licence of its data: The source's README says MIT" in " ".join(listed.split())
    assert max(map(len, listed.splitlines())) <= 80
    assert call("models", "show", "water") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "water"
    assert call("doctor") == 0
    assert "BAD" not in capsys.readouterr().out


def test_the_demo_maps_water_and_draws_it(tmp_path, capsys):
    out = tmp_path / "demo"
    assert call("demo", out) == 0
    names = {path.name for path in out.iterdir()}
    wanted = {"mask.tif", "features.gpkg", "features.geojson", "features.shp", "preview.png"}
    assert wanted <= names
    printed = capsys.readouterr().out
    assert "water" in printed
    assert "Contains modified Copernicus Sentinel data 2017" in printed
    assert "Level-1C" in printed


@pytest.mark.slow
def test_help_answers_in_half_a_second():
    """Median of five, warm, of processor time: another test keeps the other core busy."""
    import statistics

    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "geounet.cli", "--help"], capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    once()
    assert statistics.median(once() for _ in range(5)) < 0.5, os.getloadavg()


def test_the_page_of_commands_is_that_of_the_settings():
    docs = Path(__file__).parents[1] / "docs"
    module = runpy.run_path(str(docs / "commands.py"))
    assert (docs / "commands.md").read_text(encoding="utf-8") == module["text"](), "make docs"


@pytest.mark.parametrize("library", ["_pydantic_core", "_multiarray_umath", "jaxlib"])
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is loaded shows in /proc")
def test_ctrl_c_while_libraries_are_loaded_ends_in_one_line(library, scene, model, tmp_path):
    """Some make an ImportError of it, some crash, and the command line's would say nothing."""
    tokens = ["segment", scene, tmp_path / "out", "--model", model]
    program = [sys.executable, "-m", "geounet", *map(str, tokens)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as child:
        maps = Path(f"/proc/{child.pid}/maps")
        while library not in maps.read_text():
            assert child.poll() is None
            time.sleep(0.001)
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert said == "geounet: interrupted; a job that keeps its tiles goes on with --resume\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("vectorize", "a.tif", "b.gpkg"),
        ("flood", "a.tif", "b.tif", "out"),
        ("train", "a.yaml", "out"),
        ("evaluate", "water", "a.yaml", "out"),
        ("inspect", "a.tif"),
        ("demo", "out"),
        ("assess", "design", "a.tif", "b.gpkg"),
        ("assess", "estimate", "a.gpkg", "b.tif"),
    ],
)
def test_one_argument_too_many_is_never_taken_for_a_setting(command, capsys):
    assert call(*command, "stray") == 2
    assert capsys.readouterr().err.startswith("geounet: stray: more than this command takes")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("flood", "a.tif", "b.tif"), "OUT is missing; `geounet flood --help` shows"),
        (
            ("segment", "a.tif", "out"),
            "--model with its value is missing; `geounet segment",
        ),
        (("assess", "estimate", "a.gpkg"), "MAP is missing; `geounet assess estimate --help`"),
        (("landcover", "a.tif", "out"), "no model is given: say --model"),
    ],
)
def test_what_is_missing_is_said_as_the_help_calls_it(tokens, said, capsys):
    assert call(*tokens) == 2
    assert said in capsys.readouterr().err


SILENT = """
from geounet.streams import guard
{}
import geounet.learn.training
from geounet.cluster import cluster
import rasterio.env, logging
with cluster():
    logging.getLogger("rasterio._env").info("a library's word")
"""


# On busy cores Dask may leave a future behind as it closes, and asyncio tells of it as an error:
# guard() keeps that from a command's user, and nothing does from a library's.
ALONE = "import logging; logging.getLogger('asyncio').setLevel('CRITICAL')"


@pytest.mark.parametrize("who", ["guard(); import warnings; warnings.warn('slow')", ALONE])
def test_what_libraries_log_is_not_shown(who):
    found = subprocess.run(
        [sys.executable, "-c", SILENT.format(who)], capture_output=True, text=True, check=True
    )
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 5, "memory ran out; give a smaller --window or fewer --workers"),
        (OSError(errno.EMFILE, "Too many open files"), 5, "allow more with `ulimit -n 1024`"),
        (KeyError("x"), 1, "this is a bug in geounet"),
    ],
)
def test_want_of_memory_or_files_is_no_bug(error, code, said):
    failure = explained(error)
    assert failure.exit_code == code
    assert said in str(failure)


def test_few_open_files_are_named_whatever_a_library_says_of_them():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEWEST_FILES - 1, hard))
    try:
        failure = explained(RuntimeError("random_device: device not available"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "`ulimit -n 1024`" in str(failure)


def test_a_line_that_cannot_be_written_for_want_of_files_says_so(tmp_path):
    said = r"\(Too many open files; .*allow more open files with `ulimit -n"
    with pytest.raises(OutputError, match=said), placed(tmp_path / "a"):
        raise OSError(errno.EMFILE, "Too many open files")


def test_control_characters_of_names_are_written_out(tmp_path, capsys):
    """Of errors, of each scene of several, of notes, and with --debug."""
    name = tmp_path / "a\x1b[31m\x07.tif"
    name.write_text("no image")
    broken = tmp_path / "new\nline.tif"
    broken.write_text("no image")
    assert call("inspect", name, "--debug") == 3
    assert call("segment", name, broken, tmp_path / "out", "--model", "water") == 3
    for style in ("plain", "none"):
        make_reporter(style).note(f"{name}: a note\nof two lines")
    said = capsys.readouterr().err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", said)
    assert "a\\x1b[31m\\x07.tif" in said
    lines = [line for line in said.splitlines() if line.startswith(("geounet: ", "note: "))]
    assert len(lines) == 6
    assert "line.tif" not in said.replace("new line.tif", "").replace("new\\nline.tif", "")
