"""How progress looks where there is no terminal, and on one."""

from __future__ import annotations

import io
import json

import pytest

from geounet.progress import Bar, Lines, Notes, line_of, make_reporter
from geounet.reporting import Silence, duration

RECORD = {"epoch": 3, "loss": 0.41234567, "iou": {"land": 0.9, "water": None}, "confusion": [[1]]}


def told(as_json):
    stream = io.StringIO()
    lines = Lines(stream, as_json)
    lines.start("train", 100, 20)
    lines.show("epoch 1/4  loss 0.5")
    lines.advance(30)
    lines.show("epoch 1/4  loss 0.4")
    lines.record(RECORD)
    lines.finish()
    return stream.getvalue().splitlines()


def test_lines_show_the_latest_figures_and_keep_records():
    record, last = told(as_json=False)
    assert record == "epoch 3  loss 0.4123  iou land 0.9 water None"
    assert last.startswith("train:  50 %")
    assert last.endswith("left  epoch 1/4  loss 0.4")


def test_json_lines_hold_records_whole():
    record, last = map(json.loads, told(as_json=True))
    assert record == {"event": "record", **RECORD}
    assert (last["event"], last["figures"]) == ("progress", "epoch 1/4  loss 0.4")


def test_figures_do_not_outlive_their_stage():
    stream = io.StringIO()
    lines = Lines(stream, as_json=False)
    for stage in ("train", "write"):
        lines.start(stage, 10, 0)
        if stage == "train":
            lines.show("loss 0.4")
        lines.finish()
    assert "loss" not in stream.getvalue().splitlines()[1]


def test_notes_and_silence_pass_over_figures():
    stream = io.StringIO()
    for reporter in (Notes(stream), Silence()):
        reporter.start("train", 10, 0)
        reporter.show("loss 0.4")
        reporter.record(RECORD)
        reporter.finish()
    assert stream.getvalue() == ""


def test_a_bar_prints_records_and_notes(capsys):
    bar = Bar()
    bar.show("loss 0.4")
    bar.start("train", 10, 0)
    bar.advance(5)
    bar.record({"epoch": 1, "classes [a]": "[b]"})
    bar.finish()
    assert "epoch 1  classes [a] [b]" in capsys.readouterr().err


@pytest.mark.parametrize(("style", "kind"), [("plain", Lines), ("json", Lines), ("none", Notes)])
def test_each_style_has_its_reporter(style, kind):
    assert isinstance(make_reporter(style), kind)
    assert isinstance(make_reporter(style, quiet=True), Silence)


def test_durations_and_values_read_well():
    assert [duration(s) for s in (44.6, 200, 7500)] == ["45 s", "3 min 20 s", "2 h 05 min"]
    assert line_of({"loss": None, "skipped": 0}) == "loss None  skipped 0"
