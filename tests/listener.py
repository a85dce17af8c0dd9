"""A reporter that remembers what it was told."""

from __future__ import annotations

from geounet.reporting import Silence


class Listener(Silence):
    """``then`` is called with itself after every step's figures."""

    def __init__(self, then=lambda listener: None):
        self.notes, self.figures, self.records, self.stages = [], [], [], []
        self.advanced, self._then = 0, then

    def note(self, text):
        self.notes.append(text)

    def start(self, what, pixels, done):
        self.stages.append((what, pixels, done))

    def advance(self, pixels):
        self.advanced += pixels

    def show(self, figures):
        self.figures.append(figures)
        self._then(self)

    def record(self, fields):
        self.records.append(fields)
