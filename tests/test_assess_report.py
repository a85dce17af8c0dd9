"""An assessment in the report of a job, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geounet import cli
from geounet.assess.accuracy_file import adjusted_areas
from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path
from geounet.assess.estimate import estimate_accuracy
from geounet.assess.settings import DesignSettings, EstimateSettings
from geounet.errors import OutputError
from geounet.segmentation import segment
from geounet.settings import SegmentSettings
from geounet.tables import print_results
from tests.jobs import make_model, make_scene, read
from tests.made_samples import (
    interpret,
    map_values,
    true_values,
    write_map,
)


def a_job(folder: Path, values) -> Path:
    """What `geounet segment` leaves, as far as an assessment looks at it."""
    folder.mkdir()
    write_map(folder / "mask.tif", values)
    report = {"areas": "pixel count, no accuracy assessment", "classes": [], "hidden_ha": 0.25}
    (folder / "report.json").write_text(json.dumps(report))
    return folder / "mask.tif"


def test_the_report_of_a_job_takes_the_areas(tmp_path):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    assert design_sample(mask, points, DesignSettings(size=300, at_least=20)).hidden_ha == 0.25
    interpret(points, true_values(values))
    found = estimate_accuracy(points, mask, EstimateSettings(out=mask.parent))
    assert found.out == mask.parent / "accuracy.json"
    assert found.reported
    report = json.loads((mask.parent / "report.json").read_text())
    assert report["areas"] == (
        "error-adjusted, from a probability sample of 300 points (accuracy.json)"
    )
    shares = found.assessment.shares
    hectares = [s.value * found.assessment.total / 1e4 for s in shares]
    assert [row["area_ha"] for row in report["adjusted_areas"]] == pytest.approx(hectares)
    assert report["hidden_ha"] == 0.25
    write_map(mask, np.where(values == 2, 1, values))
    assert adjusted_areas(mask.parent) is None


def test_an_assessment_does_not_go_into_the_folder_of_another_map(tmp_path):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    other = a_job(tmp_path / "other", values).parent
    design_sample(mask, points, DesignSettings(size=300, at_least=20))
    interpret(points, true_values(values))
    with pytest.raises(OutputError, match=r"other: holds the map of another job, and .*mask\.tif"):
        estimate_accuracy(points, mask, EstimateSettings(out=other))
    assert not (other / "accuracy.json").exists()


def test_a_job_that_is_made_again_keeps_areas_of_the_same_mask(tmp_path, capsys):
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / "job"
    again = SegmentSettings(window=64, overwrite=True)
    model = make_model(tmp_path / "m.safetensors")
    segment(scene, model, out, again)
    mask, points = out / "mask.tif", tmp_path / "sample.gpkg"
    design_sample(mask, points, DesignSettings(size=300, at_least=20))
    values = read(mask)
    interpret(points, np.roll(values, 3, axis=1), names={3 * k: f"class {k}" for k in range(3)})
    found = estimate_accuracy(points, mask, EstimateSettings(out=out))
    assert found.reported
    pages = [(out / "report.html").read_text()]
    results = segment(scene, model, out, again)
    pages.append((out / "report.html").read_text())
    for page in pages:
        assert "error-adjusted, from a probability sample of 300 points" in page
    report = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in report["adjusted_areas"]]
    print_results(results)
    assert "areas: error-adjusted, from a probability sample of 300" in capsys.readouterr().out
    segment(make_scene(tmp_path / "scene.tif", seed=9), model, out, again)
    report = json.loads((out / "report.json").read_text())
    assert report["areas"] == "pixel count, no accuracy assessment"
    assert "error-adjusted" not in (out / "report.html").read_text()


def test_the_report_keeps_its_pixel_counts_where_the_sample_is_none(tmp_path):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    design_sample(mask, points, DesignSettings(size=300, at_least=20))
    interpret(points, true_values(values))
    design_path(points).unlink()
    found = estimate_accuracy(points, mask, EstimateSettings(out=mask.parent))
    assert not found.reported
    report = json.loads((mask.parent / "report.json").read_text())
    assert report["areas"] == "pixel count, no accuracy assessment"
    assert adjusted_areas(mask.parent) is None
    assert adjusted_areas(tmp_path) is None


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    call = ["assess", "design", str(mask), str(points), "--size", "300", "--at-least", "20"]
    assert cli.run(call) == 0
    printed = capsys.readouterr().out
    assert "expected standard error of overall accuracy: 0.02" in printed
    assert "77 pixels) without a class, of which a cloud mask hid 0.2 ha" in " ".join(
        printed.split()
    )
    interpret(points, true_values(values), skip=[4])
    call = ["assess", "estimate", str(points), "--map", str(mask), "--out", str(mask.parent)]
    assert cli.run(call) == 3
    assert "1 of 300 points (0.3 %)" in capsys.readouterr().err
    assert cli.run([*call, "--allow-missing"]) == 0
    printed = capsys.readouterr()
    assert "note: 1 of 300 points" in " ".join(printed.err.split())
    assert max(map(len, printed.out.splitlines()[:-1])) <= 80
    for word in (
        "user's accuracy",
        "estimated ha",
        "error matrix",
        "overall accuracy 0.9",
        "takes",
    ):
        assert word in printed.out
    content = json.loads((mask.parent / "accuracy.json").read_text())
    assert content["sample"] == {
        "how": "stratified by map class", "interpreted": 299, "missing": 1,
        "probability_sample": True,
    }  # fmt: skip
    assert cli.run(["assess", "design", str(mask), str(points)]) == 2
    assert "say how many points" in capsys.readouterr().err


def test_a_matrix_of_many_classes_is_left_to_the_file(tmp_path, capsys):
    values = np.repeat(np.arange(10, dtype=np.uint8), 30)[None].repeat(20, 0)
    source = write_map(tmp_path / "map.tif", values, names=[f"c{i}" for i in range(10)])
    points = tmp_path / "sample.gpkg"
    design_sample(source, points, DesignSettings(size=200, at_least=5))
    interpret(points, values, names=[f"c{i}" for i in range(10)])
    assert cli.run(["assess", "estimate", str(points), str(source)]) == 0
    assert "10 classes are too many to print" in capsys.readouterr().out
