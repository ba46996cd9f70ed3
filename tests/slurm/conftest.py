"""A real SLURM for the tests of this folder, started once and stopped at the end."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.shell import Shell

SCRIPT = Path(__file__).parent / "cluster.sh"
HOME = Path("/var/tmp/parcae-slurm")


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find the cluster. One test run at a time has it."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        why = "a real SLURM can be started by root on Debian only, so sweeps on SLURM were not tested here"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    HOME.mkdir(exist_ok=True)
    with (HOME / "in-use").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = {"SLURM_CONF": str(HOME / "etc" / "slurm.conf")}
        subprocess.run([SCRIPT, "install"], check=True, timeout=240)
        try:
            subprocess.run([SCRIPT, "start"], check=True, timeout=120)
            yield environment
        finally:
            subprocess.run([SCRIPT, "stop"], check=True, timeout=120)


@pytest.fixture
def shell(cluster: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    """A shell in a folder that holds another `sweeps.py`; its jobs are gone when the test is."""
    (tmp_path / "sweeps.py").write_text("raise SystemExit('this is another program')\n")
    yield Shell(tmp_path, cluster)
    subprocess.run(["scancel", "--user=root"], check=True, env={**os.environ, **cluster})


@pytest.fixture
def full(cluster: dict[str, str]) -> Iterator[Callable[[], None]]:
    """Call it, and SLURM starts no job before the test is done."""

    def drain() -> None:
        drained = ["scontrol", "update", "NodeName=n[1-2]", "State=DRAIN", "Reason=test"]
        subprocess.run(drained, check=True, env={**os.environ, **cluster})

    yield drain
    subprocess.run(["scancel", "--user=root"], check=True, env={**os.environ, **cluster})
    subprocess.run([SCRIPT, "start"], check=True, timeout=120)


@pytest.fixture
def daemon(cluster: dict[str, str]) -> Iterator["Daemons"]:
    """Stops and starts SLURM's daemons; all run again when the test is done."""
    daemons = Daemons()
    yield daemons
    subprocess.run([SCRIPT, "start"], check=True, timeout=120)


class Daemons:
    def stop(self, name: str) -> None:
        subprocess.run([SCRIPT, "stop", name], check=True, timeout=60)

    def start(self, name: str) -> None:
        subprocess.run([SCRIPT, "start", name], check=True, timeout=60)
