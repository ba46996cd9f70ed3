"""The environment that runs start in: the submitting shell's, less what its own job put there."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_OF_A_JOB = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "PMI_", "PMIX_", "PMI2_", "SUBMITIT_")
_FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_")
_OF_A_PROCESS = {  # what torchrun and SLURM say of one process among several, and of its GPUs
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
}
_WHICH_CLUSTER = {"SLURM_CONF", "SLURM_CLUSTERS"}


def outside_a_job(environment: Mapping[str, str], *, keep_gpus: bool = False) -> dict[str, str]:
    """`environment` without the job that this shell runs in, but with the cluster that it talks to.

    `keep_gpus` leaves the choice of GPUs: on this machine it is the user's.
    """
    dropped = _OF_A_PROCESS - ({"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} if keep_gpus else set())
    return {
        name: value
        for name, value in environment.items()
        if name in _WHICH_CLUSTER or not (name in dropped or name.startswith(_OF_A_JOB))
    }


def without_filters(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what would have SLURM's commands show, or cancel, some jobs only."""
    return {name: value for name, value in environment.items() if not name.startswith(_FILTERS)}


@contextmanager
def cleaned() -> Iterator[None]:
    """This process's own environment as `outside_a_job`, for as long as the block lasts."""
    before = dict(os.environ)
    for name in before.keys() - outside_a_job(before).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
