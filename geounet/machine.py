"""What a process computes with: its device, the memory that is free, the versions it has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import jax
import psutil

from geounet.versions import versions


@dataclass(frozen=True)
class Machine:
    """What the bytes of a map and the size of its windows depend on.

    Attributes:
        device: its kind, and how many cores a CPU gives.
        memory: bytes of main memory that are free.
        versions: name and version of what results depend on.
    """

    device: str
    memory: int
    versions: tuple[tuple[str, str], ...]

    @property
    def is_cpu(self) -> bool:
        return self.device.startswith("cpu")


def this_machine() -> Machine:
    """The machine of this process."""
    return Machine(device_name(), available_bytes(), tuple(versions().items()))


def device_name() -> str:
    """The kind of device that computes, and how many cores a CPU gives: bytes depend on both."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu with {_cores()} cores"
    return f"{device.platform} {device.device_kind}"


def accelerators() -> tuple[str, ...]:
    """As CUDA numbers the devices that this process sees; none on a CPU."""
    if jax.devices()[0].platform != "gpu":
        return ()
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (
        tuple(seen.split(",")) if seen else tuple(str(d.local_hardware_id) for d in jax.devices())
    )


def available_bytes() -> int:
    """Main memory that is free, within the limit of a container."""
    free = psutil.virtual_memory().available
    try:
        # A container may have less than its machine.
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, limit - used))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
