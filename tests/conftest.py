"""Settings of every test: property tests without chance in CI, and JAX strict about types."""

from __future__ import annotations

import os

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("dev", deadline=None, max_examples=40)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def strict_numerics():
    """Forward, losses and augmentation must neither promote types nor ranks silently."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
