"""cluster.toml: the resources that a run requests from SLURM, and the limits of a sweep.

Keys at the top apply to every run; a table `[model.NAME]` overrides them for one model. Runs with equal
requests go into the same job arrays.
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
    """Time limit; a run that needs longer is requeued and resumes from its checkpoint."""
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    """Processes per node; with GPUs, one per GPU."""
    cpus_per_task: int = 1
    memory_gb_per_node: float | None = None
    setup: tuple[str, ...] = ()
    """Shell lines before srun, such as `module load cuda`."""
    python: str | None = None
    """The interpreter on the nodes; by default the submitting one."""
    container: str | None = None
    """An image for srun's --container-image."""
    srun_arguments: tuple[str, ...] = ()
    concurrent: int | None = None
    """Maximum number of GPUs (without GPUs: tasks) that a sweep uses at once."""
    gpu_hours_cap: float | None = None
    """Refuse to submit more than this many GPU-hours (without GPUs: task-hours) of time limits."""
    signal_seconds: int = 90
    """How long before its time limit a run is signalled to write a checkpoint and be requeued."""
    checkpoint_seconds: float | None = None
    micro_batch_sequences: int | None = None
    activation_checkpointing: bool = False
    compile: bool | None = None
    telemetry: str = Telemetry.NORMAL.value

    @property
    def execution(self) -> ExecutionConfig:
        """How each process trains; `ExecutionConfig` documents the last five settings."""
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
        """GPUs per run; without GPUs, tasks per run."""
        return self.nodes * (self.gpus_per_node or self.tasks_per_node)

    @property
    def processes(self) -> int:
        """Tasks of the run's srun step, which train it together."""
        return self.nodes * self.tasks_per_node

    @property
    def device(self) -> str:
        return "GPU" if self.gpus_per_node else "task"

    @property
    def device_hours(self) -> float:
        """Device hours of one run at its time limit."""
        return self.devices * self.time_minutes / 60

    def __post_init__(self) -> None:
        for name in ("time_minutes", "nodes", "tasks_per_node", "cpus_per_task", "signal_seconds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        _ = self.execution  # raises for a wrong setting
        if self.gpus_per_node < 0:
            raise InputError(f"gpus_per_node is {self.gpus_per_node}; it cannot be negative")
        if self.gpus_per_node:
            object.__setattr__(self, "tasks_per_node", self.gpus_per_node)
        if self.concurrent is not None and self.concurrent < self.devices:
            raise InputError(
                f"cluster.toml: concurrent is {self.concurrent}, but one run uses {self.devices}; raise it"
            )


@dataclass(frozen=True)
class Profiles:
    """The profile of each model."""

    default: Profile
    models: dict[str, Profile]

    def of(self, model: str) -> Profile:
        return self.models.get(model, self.default)


def read_profiles(path: Path) -> Profiles:
    """The profiles in cluster.toml; the defaults if there is no file. ``InputError`` if it is wrong."""
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
