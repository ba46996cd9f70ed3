"""A real SLURM for the tests of this folder, started once and stopped at the end."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Command, Ran

SCRIPT = Path(__file__).parent / "cluster.sh"
HOME = Path("/var/tmp/parcae-slurm")


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find the cluster."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        why = "a real SLURM is started by root on Debian only"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    for step in ("install", "start"):
        subprocess.run([SCRIPT, step], check=True, timeout=280)
    yield {"SLURM_CONF": str(HOME / "etc" / "slurm.conf")}
    subprocess.run([SCRIPT, "stop"], check=True)


@pytest.fixture
def on_slurm(slurm: dict[str, str], command: Command) -> Callable[..., Ran]:
    """Runs a command of ours where SLURM answers."""

    def run(name: str, *arguments: str, env: dict[str, str] | None = None, timeout: float = 240) -> Ran:
        return command(name, *arguments, env={**slurm, **(env or {})}, timeout=timeout)

    return run
