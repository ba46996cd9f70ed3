"""cluster.toml: what a run asks of SLURM, and what a whole sweep may take.

Keys at the top hold for every run; a table `[model.NAME]` overrides them for one model. Runs that ask for
the same go into the same job arrays.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from parcae.config import ExecutionConfig, Telemetry
from parcae.errors import InputError
from parcae.presets import preset
from parcae.records import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The resources of one run's job."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_minutes: int = 24 * 60
    """Time limit; a run that needs longer is requeued from its checkpoint."""
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    """Processes a node; with GPUs, one for each."""
    cpus_per_task: int = 1
    memory_gb_per_node: float | None = None
    setup: tuple[str, ...] = ()
    """Shell lines before srun, such as `module load cuda`."""
    python: str | None = None
    """The interpreter on the nodes; the submitting one unless given."""
    container: str | None = None
    """An image for srun's --container-image."""
    srun_arguments: tuple[str, ...] = ()
    concurrent: int | None = None
    """Ceiling on GPUs (without GPUs: tasks) that a sweep holds at once."""
    gpu_hours_cap: float | None = None
    """Refuse to submit more than this many GPU-hours (without GPUs: task-hours) of time limits."""
    signal_seconds: int = 90
    """How long before the time limit a run is told to checkpoint and requeue."""
    checkpoint_seconds: float | None = None
    micro_batch_sequences: int | None = None
    activation_checkpointing: bool = False
    compile: bool | None = None
    telemetry: str = Telemetry.NORMAL.value

    @property
    def execution(self) -> ExecutionConfig:
        """How each process trains; see there what the last five settings mean."""
        return ExecutionConfig(
            checkpoint_seconds=self.checkpoint_seconds,
            threads=self.cpus_per_task,
            micro_batch_sequences=self.micro_batch_sequences,
            activation_checkpointing=self.activation_checkpointing,
            compile=self.compile,
            telemetry=cast(Telemetry, self.telemetry),
        )

    @property
    def devices(self) -> int:
        """GPUs, or without GPUs tasks, that one run holds."""
        return self.nodes * (self.gpus_per_node or self.tasks_per_node)

    @property
    def processes(self) -> int:
        """Tasks of the run's srun step: they train it together."""
        return self.nodes * self.tasks_per_node

    @property
    def device(self) -> str:
        return "GPU" if self.gpus_per_node else "task"

    @property
    def device_hours(self) -> float:
        """What one run may take before its time limit."""
        return self.devices * self.time_minutes / 60

    def __post_init__(self) -> None:
        for name in ("time_minutes", "nodes", "tasks_per_node", "cpus_per_task", "signal_seconds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        _ = self.execution  # which checks its own settings
        if self.gpus_per_node < 0:
            raise InputError(f"gpus_per_node is {self.gpus_per_node}; it cannot be negative")
        if self.gpus_per_node:
            object.__setattr__(self, "tasks_per_node", self.gpus_per_node)
        if self.concurrent is not None and self.concurrent < self.devices:
            raise InputError(
                f"cluster.toml: concurrent is {self.concurrent}, but one run holds {self.devices}; raise it"
            )


@dataclass(frozen=True)
class Profiles:
    """The profile of each model."""

    default: Profile
    models: dict[str, Profile]

    def of(self, model: str) -> Profile:
        return self.models.get(model, self.default)


def read_profiles(path: Path) -> Profiles:
    """Reads cluster.toml; where there is none, the defaults. ``InputError`` for a file that is wrong."""
    if not path.exists():
        return Profiles(Profile(), {})
    try:
        plain = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    models = plain.pop("model", {})
    if not (isinstance(models, dict) and all(isinstance(table, dict) for table in models.values())):
        raise InputError(f"{path}: model is {models!r}; it takes a table for each model, [model.NAME]")
    for name in models:
        preset(name)
    default = _override(Profile(), plain, path)
    return Profiles(default, {name: _override(default, table, path) for name, table in models.items()})


def _override(profile: Profile, table: dict[str, Any], path: Path) -> Profile:
    return from_plain(Profile, {**to_plain(profile), **table}, str(path))
