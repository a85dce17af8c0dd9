"""How progress looks where there is no terminal, and on one."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from geounet.progress import WIDTH, Bar, Lines, Notes, lines_of, make_reporter
from geounet.reporting import Silence, duration

RECORD = {
    "epoch": 3,
    "step": 1200,
    "loss": 0.41234567,
    "skipped": 0,
    "learning_rate": 0.00123456,
    "seconds": 19.9812,
    "validation_loss": 0.38,
    "iou": {"land": 0.9, "water": None},
    "macro_iou": 0.9,
    "confusion": [[1]],
}


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
    record, classes, last = told(as_json=False)
    assert record == "epoch 3  loss 0.4123  validation loss 0.38  mean IoU 0.9"
    assert classes == "  IoU land 0.9  water –"
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
    bar.record({"epoch": 1, "iou": {"[b]": 0.5}})
    bar.finish()
    assert "epoch 1\n  IoU [b] 0.5" in capsys.readouterr().err


def test_the_figures_of_a_bar_fit_a_terminal(monkeypatch):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=WIDTH, no_color=True)
    monkeypatch.setattr("geounet.progress.Console", lambda **_: console)
    figures = "epoch 112/400  loss 0.0004123  IoU 0.731  1.23e+03 samples/s  waited 100%"
    bar = Bar()
    bar.start("evaluating", 10**12, 0)
    bar.show(figures)
    bar.advance(3)
    bar.finish()
    assert figures in shown.getvalue()
    assert " left" in shown.getvalue()


def test_a_record_takes_lines_that_fit_a_terminal():
    long = RECORD | {"epoch": 1000, "loss": 1.234e-05, "validation_loss": 1.234e-05, "skipped": 99}
    many = {f"a class of many {n}": 0.1234 for n in range(9)}
    assert max(map(len, lines_of(long).split("\n"))) <= WIDTH
    assert "\n" not in lines_of(long | {"iou": many})
    assert lines_of(long).count("skipped 99") == 1


@pytest.mark.parametrize(("style", "kind"), [("plain", Lines), ("json", Lines), ("none", Notes)])
def test_each_style_has_its_reporter(style, kind):
    assert isinstance(make_reporter(style), kind)
    assert isinstance(make_reporter(style, quiet=True), Silence)


def test_durations_and_values_read_well():
    assert [duration(s) for s in (44.6, 200, 7500)] == ["45 s", "3 min 20 s", "2 h 05 min"]
    assert lines_of({"loss": None, "skipped": 0}) == "loss –"
