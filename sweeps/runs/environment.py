"""The environment of runs: that of the submitting shell, without the variables of the job it may be in."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_OF_A_JOB = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "PMI_", "PMIX_", "PMI2_", "SUBMITIT_")
_FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_")
_OF_A_PROCESS = {  # set by torchrun and SLURM for one process among several
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
}
_WHICH_CLUSTER = {"SLURM_CONF", "SLURM_CLUSTERS"}


def outside_a_job(environment: Mapping[str, str], *, keep_gpus: bool = False) -> dict[str, str]:
    """`environment` without variables of the job that this shell runs in, except the choice of the cluster.

    `keep_gpus` keeps the choice of GPUs: on this machine it is the user's.
    """
    dropped = _OF_A_PROCESS - ({"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} if keep_gpus else set())
    return {
        name: value
        for name, value in environment.items()
        if name in _WHICH_CLUSTER or not (name in dropped or name.startswith(_OF_A_JOB))
    }


def import_safely() -> None:
    """From now on, no Python that this process starts imports from its working folder."""
    os.environ["PYTHONSAFEPATH"] = "1"


def without_filters(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without variables that make SLURM's commands show or cancel only some jobs."""
    return {name: value for name, value in environment.items() if not name.startswith(_FILTERS)}


@contextmanager
def cleaned() -> Iterator[None]:
    """Within the block, this process's environment is that of `outside_a_job`."""
    before = dict(os.environ)
    for name in before.keys() - outside_a_job(before).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
