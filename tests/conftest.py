"""Settings of every test: property tests without chance in CI, and JAX strict about types."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import jax
import pytest

from geounet.compiling import ON_CPU
from tests.canary import listening
from tests.jobs import make_model, make_scene

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
COMPILED = {
    "jax_compilation_cache_dir": str(
        Path(__file__).parents[1] / ".pytest_cache" / f"jax-{_WORKER}"
    ),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
}
"""Small programs are compiled once, and not once in every process that a test starts.

A worker has a folder of its own, as JAX does not write its entries at one stroke.
"""
for name, value in COMPILED.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

# The programs of tests themselves, and single operations, are compiled as geounet's own are.
OPTIONS = " ".join(f"--{name}={value}".lower() for name, value in ON_CPU.items())
os.environ["XLA_FLAGS"] = f"{OPTIONS} {os.environ.get('XLA_FLAGS', '')}".strip()

hypothesis.settings.register_profile("dev", deadline=None, max_examples=40)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def strict_numerics():
    """Forward, losses and augmentation must neither promote types nor ranks silently."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A drawn network of three bands whose reach is small."""
    return make_model(tmp_path_factory.mktemp("model") / "drawn.safetensors")


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """A scene of three bands that the model maps."""
    return make_scene(tmp_path_factory.mktemp("scene") / "scene.tif")


@pytest.fixture
def canary():
    """A server that must not be asked for anything: whoever uses it looks at its ``seen``."""
    with listening() as server:
        yield server
