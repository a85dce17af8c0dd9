"""Who does the work: Dask in this process, in processes of this machine, or on a cluster.

Bytes depend on the kind of device and on versions, so that whoever computes is asked for both
before a job begins, and workers that differ are refused.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address

from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed.security import Security

from geounet.errors import ClusterError, SettingsError
from geounet.machine import Machine, accelerators, this_machine
from geounet.settings import ComputeSettings

THREADS = 3
FAILURES = 1
"""Worker processes that a task may take with it and still be tried: more of them only cost time,
since what is suspected is tried once more, alone."""
SECONDS_FOR_A_WORKER = 60.0


@contextmanager
def cluster(settings: ComputeSettings | None = None) -> Iterator[Client]:
    """Dask in this process, in ``workers`` processes on this machine, or at an address.

    Local clusters listen on loopback only, and have no dashboard.

    Raises:
        SettingsError: if no scheduler answers, or its workers are not like this program.
        ClusterError: if it has no workers.
    """
    settings = settings or ComputeSettings()
    if settings.scheduler:
        with connected(settings) as client, _alike(client, settings.scheduler):
            yield client
        return
    devices = accelerators() if settings.workers else ()
    _refuse_crowd(settings.workers, devices)
    with (
        _local_cluster(settings.workers) as local,
        Client(local, set_as_default=False) as client,
    ):
        if settings.workers:
            client.register_plugin(IgnoreInterrupts())
            client.register_plugin(OneDevice(devices))
        yield client


@contextmanager
def connected(settings: ComputeSettings) -> Iterator[Client]:
    """A client of the scheduler at the address in the settings.

    Raises:
        SettingsError: if none answers, or it may not be used.
        ClusterError: if it has no worker.
    """
    address = settings.scheduler or ""
    _refuse_open_door(address, settings)
    _refuse_silent(address)
    try:
        client = Client(address, timeout="30s", set_as_default=False, security=_security(settings))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise SettingsError(
            f"{address}: the scheduler answers, but cannot be talked to ({error}); check its "
            "version, and --tls-ca, --tls-cert and --tls-key if it wants TLS"
        ) from error
    with client:
        _wait_for_a_worker(client, address)
        yield client


def machine_of(settings: ComputeSettings) -> Machine:
    """The machine that will compute: this one, or what the workers of the cluster have in common.

    Raises:
        SettingsError: if the workers differ from each other or from this program, with the list.
    """
    if not settings.scheduler:
        return this_machine()
    with connected(settings) as client:
        try:
            found: Mapping[str, Machine] = client.run(this_machine)
        except ImportError as error:
            raise SettingsError(
                f"{settings.scheduler}: a worker cannot import what it needs ({error}); install "
                "geounet of the same version there"
            ) from error
    _refuse_difference(settings.scheduler, found)
    memory = min(machine.memory for machine in found.values())
    first = next(iter(found.values()))
    return Machine(first.device, memory, first.versions)


def _refuse_difference(scheduler: str, found: Mapping[str, Machine]) -> None:
    ours = dict(this_machine().versions)
    for worker, machine in found.items():
        theirs = dict(machine.versions)
        differ = [f"{n} {theirs.get(n)} (here {v})" for n, v in ours.items() if theirs.get(n) != v]
        if differ:
            raise SettingsError(
                f"{scheduler}: worker {worker} has {', '.join(differ)}; the map would not be the "
                "same: install the same versions there"
            )
    devices = {machine.device: worker for worker, machine in found.items()}
    if len(devices) > 1:
        listed = "; ".join(f"{worker}: {device}" for device, worker in sorted(devices.items()))
        raise SettingsError(
            f"{scheduler}: its workers compute on different devices ({listed}), which round "
            "differently; leave one kind running"
        )


class SameVersions(WorkerPlugin):
    """Refuses a worker, also one that comes later, whose maps could be others than ours."""

    def __init__(self, expected: tuple[tuple[str, str], ...]) -> None:
        self.expected = expected

    def setup(self, worker: Worker) -> None:
        theirs = this_machine().versions
        if theirs != self.expected:
            raise RuntimeError(f"geounet: this worker has {theirs}, the job {self.expected}")


@contextmanager
def _alike(client: Client, scheduler: str) -> Iterator[None]:
    name = f"geounet-same-versions-{client.id}"
    try:
        client.register_plugin(SameVersions(this_machine().versions), name=name)
    except Exception as error:
        raise SettingsError(f"{scheduler}: a worker cannot be used: {error}") from error
    try:
        yield
    finally:
        # A scheduler that is gone has forgotten it.
        with suppress(Exception):
            client.unregister_worker_plugin(name)


class IgnoreInterrupts(WorkerPlugin):
    """Ctrl-C goes to every process of a terminal, but only the client may act on it."""

    name = "geounet-ignore-interrupts"

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class OneDevice(WorkerPlugin):
    """Each process of this machine sees one accelerator: JAX would take the memory of all."""

    name = "geounet-one-device"

    def __init__(self, devices: tuple[str, ...]) -> None:
        self.devices = devices

    def setup(self, worker: Worker) -> None:
        # Before the first task: JAX looks at its devices when it is first asked for one.
        if self.devices:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices[int(worker.name)]


def _refuse_crowd(workers: int, devices: tuple[str, ...]) -> None:
    if devices and workers > len(devices):
        raise SettingsError(
            f"--workers {workers}: this machine has {len(devices)} accelerators, and each process "
            "needs one of its own; its three threads keep it busy"
        )


def _local_cluster(workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=max(1, workers),
        threads_per_worker=THREADS,
        processes=workers > 0,
        host="127.0.0.1" if workers else None,
        # None would still serve HTTP, and on every interface of the machine.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False, "allowed_failures": FAILURES},
        memory_limit=0,
        silence_logs=50,
    )


def _security(settings: ComputeSettings) -> Security | None:
    """TLS as the flags say; None leaves it to Dask's own configuration."""
    if not settings.tls_ca:
        return None
    return Security(
        require_encryption=True,
        tls_ca_file=settings.tls_ca,
        tls_client_cert=settings.tls_cert,
        tls_client_key=settings.tls_key,
    )


def _refuse_open_door(address: str, settings: ComputeSettings) -> None:
    """Whoever reaches a scheduler without TLS can run programs on it, and as us."""
    host, _, _ = address.rpartition("://")[2].rpartition(":")
    if address.startswith("tls://") or settings.insecure or _is_loopback(host.strip("[]")):
        return
    raise SettingsError(
        f"{address}: is not on this machine and not encrypted, so that anybody on the network "
        "could run programs as you; use tls:// with --tls-ca, --tls-cert and --tls-key, or say "
        "--insecure if you trust the network"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_silent(scheduler: str) -> None:
    """A client that cannot connect leaves a thread behind, so the address is tried first."""
    host, _, port = scheduler.rpartition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            return
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{scheduler}: no Dask scheduler answers ({error}); start one, or leave --scheduler out"
        ) from error


def _wait_for_a_worker(client: Client, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=SECONDS_FOR_A_WORKER)
    except TimeoutError as error:
        raise ClusterError(
            f"{scheduler}: has no worker after {SECONDS_FOR_A_WORKER:.0f} s; start one with "
            "`dask worker`"
        ) from error
