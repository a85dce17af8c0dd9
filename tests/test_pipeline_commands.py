"""The commands that compare dates: flags, settings files and what they refuse."""

from __future__ import annotations

import json

import pytest

from geounet import cli
from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.errors import InputError, SettingsError
from geounet.settings_file import model_of, with_file
from tests.made_dates import dates, model_of_two


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return model_of_two(tmp_path_factory.mktemp("model") / "two.safetensors")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return dates(tmp_path_factory.mktemp("dates"), 3)


def call(*tokens):
    return cli.run([str(token) for token in tokens])


def written(path, text):
    path.write_text(text)
    return str(path)


def test_flood_takes_settings_from_a_file_under_its_flags(three, two, tmp_path, capsys):
    config = written(
        tmp_path / "flood.yaml", "target: [class 1]\nmin-area: 2px\nformat: [geojson]\n"
    )
    out, given = tmp_path / "out", ("--model", two, "--window", 64)
    assert call("flood", *three[:2], out, *given, "--config", config, "--min-area", "9px") == 0
    printed = capsys.readouterr()
    assert "newly flooded" in printed.out
    assert "comparing: 100 %" in printed.err
    assert (out / "features.geojson").exists()
    assert not (out / "features.gpkg").exists()
    assert json.loads((out / "report.json").read_text())["min_area"] == "9px"


def test_deforestation_takes_more_than_two_scenes(three, two, tmp_path, capsys):
    given = ("--model", two, "--window", 64, "--target", "class 1", "--quiet", "--band", "green=2")
    assert call("deforestation", *three, tmp_path / "out", *given) == 0
    printed = capsys.readouterr()
    assert "loss by date 3" in printed.out
    assert printed.err == ""
    assert (tmp_path / "out" / "loss_date.tif").exists()


def test_a_band_of_one_file_is_not_taken_for_two_dates(three, two, tmp_path, capsys):
    given = ("--model", two, "--target", "class 1", "--band", f"red={three[2]}")
    assert call("flood", *three[:2], tmp_path / "out", *given) == 3
    assert "give each date its own file" in capsys.readouterr().err
    assert call("flood", *three[:2], tmp_path / "out", "--band", "red") == 2
    assert "write it as name=source" in capsys.readouterr().err


def test_too_few_or_empty_paths_are_refused(three, capsys):
    assert call("deforestation", three[0], "out") == 2
    assert "give BEFORE AFTER [LATER...] OUT" in capsys.readouterr().err
    assert call("deforestation", three[0], "", "out") == 2
    assert "a path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["flood", "deforestation", "landcover"])
def test_a_dry_run_tells_what_a_job_takes_and_leaves_nothing(three, two, tmp_path, command, capsys):
    target = () if command == "landcover" else ("--target", "class 1")
    given = ("--model", two, "--window", 64, *target)
    out = tmp_path / "out"
    assert call(command, *three[:2], out, *given, "--dry-run") == 0
    printed = capsys.readouterr().out
    for name in ("scene", "tiles", "window", "memory", "disk"):
        assert f"  {name:9} " in printed
    assert not out.exists()
    assert call(command, three[0], tmp_path / "none.tif", out, *given, "--dry-run") == 3
    assert "none.tif" in capsys.readouterr().err


def test_half_a_hectare_is_the_least_loss_unless_said_otherwise(tmp_path):
    assert DeforestationSettings().min_area == "0.5ha"
    assert FloodSettings().min_area is None
    config = written(tmp_path / "c.yaml", "min_area: 2ha")
    assert with_file(DeforestationSettings(), config).min_area == "2ha"
    assert with_file(DeforestationSettings(min_area="1ha"), config).min_area == "1ha"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("min_area: 5", "c.yaml: min_area: '5' is not an area: write a number and its unit"),
        ("quiet: true", "c.yaml: quiet: says how a command is run; give it on the command line"),
        ("band: 3", "c.yaml: band: write name=source"),
        ("permanent: 1", "c.yaml: permanent: Extra inputs.*see --help"),
        ("threshold: 1.5", "c.yaml: threshold: .*less than 1"),
        ("zone_field: name", "--zone-field needs --zones"),
        ("[1, 2]", "holds no named values; a settings file is lines"),
        ("a: [", "is not YAML: .*mend that line"),
        ("a: &x 1\nb: *x", "uses YAML aliases.*write values out"),
    ],
)
def test_a_wrong_settings_file_is_named_with_its_fault(text, fault, tmp_path):
    with pytest.raises(SettingsError, match=fault):
        with_file(FloodSettings(), written(tmp_path / "c.yaml", text))


def test_a_settings_file_takes_what_flags_take(tmp_path):
    text = "format: geojson\nclasses: newly flooded\nmask-after: a.tif:values=1,2\nband: [blue=1]\n"
    found = with_file(FloodSettings(), written(tmp_path / "c.yaml", f"{text}model: mine"))
    assert found.formats == ("geojson",)
    assert found.classes == ("newly flooded",)
    assert found.mask_after == ("a.tif:values=1,2",)
    assert found.bands == {"blue": "1"}
    numbers = with_file(FloodSettings(), written(tmp_path / "c.yaml", "classes: [1, dry]"))
    assert numbers.classes == ("1", "dry")


def test_the_model_may_lie_in_the_settings_file_under_that_of_the_flag(tmp_path):
    config = written(tmp_path / "c.yaml", "model: mine.safetensors")
    assert model_of(None, config, "water") == "mine.safetensors"
    assert model_of("other", config, "water") == "other"
    assert model_of(None, written(tmp_path / "d.yaml", "strict: true"), "water") == "water"
    with pytest.raises(SettingsError, match="no model is given"):
        model_of(None, None)


def test_a_missing_settings_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read.*check the path"):
        with_file(FloodSettings(), "nowhere.yaml")
