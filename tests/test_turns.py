"""One bar for several jobs: none is told of twice, and none is forgotten."""

from __future__ import annotations

import random
import threading

from geounet.reporting import Silence
from geounet.turns import Floor


class Heard(Silence):
    """What was said, in order; a bar that begins while another is there is a mistake."""

    def __init__(self):
        self.said, self.bar = [], None

    def note(self, text):
        self.said.append(("note", text))

    def start(self, what, pixels, done):
        assert self.bar is None
        self.bar = what
        self.said.append(("start", what, pixels, done))

    def advance(self, pixels):
        assert self.bar is not None
        self.said.append(("advance", self.bar, pixels))

    def finish(self):
        assert self.bar is not None
        self.bar = None
        self.said.append(("finish",))


def test_the_second_job_goes_on_with_the_bar_where_it_is_by_then():
    heard = Heard()
    floor = Floor(heard)
    first, second = floor.of("a"), floor.of("b")
    first.start("segmenting", 100, 0)
    second.start("segmenting", 50, 10)
    first.advance(60)
    second.advance(20)
    second.note("b: is dark")
    first.finish()
    second.advance(5)
    second.finish()
    assert heard.said == [
        ("start", "a: segmenting", 100, 0),
        ("advance", "a: segmenting", 60),
        ("note", "b: is dark"),
        ("finish",),
        ("start", "b: segmenting", 50, 30),
        ("advance", "b: segmenting", 5),
        ("finish",),
    ]


def test_a_stage_that_ends_unheard_leaves_the_bar_alone():
    heard = Heard()
    floor = Floor(heard)
    first, second = floor.of("a"), floor.of("b")
    first.start("segmenting", 100, 0)
    second.start("tracing", 50, 0)
    second.finish()
    first.finish()
    second.finish()
    assert [event[0] for event in heard.said] == ["start", "finish"]


def test_threads_never_draw_two_bars():
    floor = Floor(Heard())

    def job(name):
        turn, draw = floor.of(name), random.Random(name)
        for _ in range(50):
            turn.start("segmenting", 10, 0)
            for _ in range(draw.randint(0, 5)):
                turn.advance(1)
            turn.finish()

    failed = []
    threading.excepthook, before = failed.append, threading.excepthook
    threads = [threading.Thread(target=job, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.excepthook = before
    assert not failed
    assert floor.speaker is None
