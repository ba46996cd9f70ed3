"""Several processes that train one run: how they find each other, and the operations that they share.

torchrun, or SLURM's srun with one task per process, describes them in the environment. A single process opens
no connection.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from parcae.errors import InputError

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others. A process that died is noticed at once, when its connection
closes; this is for one that hangs. The longest legitimate waits are compilation and the first process's
evaluation."""
PART_NUMBERS = 2**24  # summed in one call: few calls, and little memory for the copy
FIRST_PORT, PORTS = 20_000, 12_000  # below the ports that Linux assigns automatically

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among the processes of its run."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Rank on its node, which selects its GPU."""
    rendezvous: str = ""
    """Where the processes find each other, as torch's `init_method`."""


def find_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Read from torchrun's variables, else from those of a SLURM step; else a single process."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Launch(
            rank=int(environment["RANK"]),
            count=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", 0)),
            rendezvous="env://",
        )
    count = _step_tasks(environment)
    if count == 1:
        return Launch()
    return Launch(
        rank=int(environment["SLURM_PROCID"]),
        count=count,
        local_rank=int(environment.get("SLURM_LOCALID", 0)),
        rendezvous=f"tcp://{_first_address(environment)}:{_port(environment)}",
    )


def _step_tasks(environment: Mapping[str, str]) -> int:
    """Tasks of the SLURM step that this process belongs to; 1 outside one.

    A batch script has the job's SLURM_NTASKS too, but is one process: it has a task and no step.
    """
    if "SLURM_PROCID" not in environment:
        return 1
    in_batch_script = "SLURM_TASK_PID" in environment and "SLURM_STEP_NUM_TASKS" not in environment
    total = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
    return 1 if in_batch_script else int(total)


def _first_address(environment: Mapping[str, str]) -> str:
    """Address of the step's first node, where rank 0 runs."""
    if "MASTER_ADDR" in environment:
        return environment["MASTER_ADDR"]
    names = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    nodes = next((environment[name] for name in names if name in environment), "")
    name = first_node(nodes)
    if name == nodes:  # one node
        return "127.0.0.1"
    try:
        socket.getaddrinfo(name, None)
    except OSError:  # SLURM's name of a node may differ from the network's
        return _slurm_address(name) or name
    return name


def first_node(nodes: str) -> str:
    """The first name of a SLURM node list: `gpu[08-11,20],big1` begins with gpu08."""
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])*", nodes)
    assert first is not None  # it matches the empty string
    return re.sub(r"\[([^\]\-,]*)[^\]]*\]", r"\1", first[0])


def _slurm_address(node: str) -> str | None:
    try:
        shown = subprocess.run(
            ["scontrol", "show", "node", node], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    address = re.search(r"\bNodeAddr=(\S+)", shown)
    return address[1] if address else None


def _port(environment: Mapping[str, str]) -> int:
    """The same for every process of a step, another one for another job."""
    if "MASTER_PORT" in environment:
        return int(environment["MASTER_PORT"])
    job, step = (int(environment.get(name, 0)) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return FIRST_PORT + (job + 101 * step) % PORTS


class Processes:
    """The processes of a run. Every method except `share` must be called by all of them, in the same order;
    with a single process it does nothing."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def share(self, order: Sequence[T]) -> list[T]:
        """This process's part of a batch that is sorted by work: equal numbers of nearly equal work.

        Sequences are dealt back and forth, so that no process always gets the deeper one of a round.
        """
        rounds = [order[first : first + self.count] for first in range(0, len(order), self.count)]
        return [each[self.rank] if i % 2 == 0 else each[-1 - self.rank] for i, each in enumerate(rounds)]

    def give(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites `tensors` with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each of `tensors` by its sum over the processes.

        This happens after the backward pass: most gradients of a looped model, those of the recurrent block
        and of the embeddings, are complete only at its end, so DistributedDataParallel would have little to
        overlap. The layout is always the same, so sums are taken in the same order; the buckets of
        DistributedDataParallel change after the first step, which would change the sums of a resumed run.
        """
        if self.count == 1:
            return
        for part in _parts(tensors):
            flat = torch.cat([tensor.flatten() for tensor in part])
            dist.all_reduce(flat)
            for tensor, total in zip(part, flat.split([tensor.numel() for tensor in part]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def mean(self, values: Sequence[float]) -> list[float]:
        """Each of `values`, averaged over the processes; NaN if it is NaN anywhere."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [value / self.count for value in total.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true for at least one process. Waits for all of them."""
        return self.mean([float(flag)]) != [0.0]

    def from_first(self, value: T) -> T:
        """The `value` of the first process; those of the others are ignored."""
        if self.count == 1:
            return value
        values: list[Any] = [value if self.is_first else None]
        dist.broadcast_object_list(values, src=0)
        given: T = values[0]
        return given


def _parts(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Splits `tensors` into parts of one type, each of about PART_NUMBERS numbers if there are that many."""
    part: list[Tensor] = []
    for tensor in tensors:
        if part and (tensor.dtype != part[0].dtype or sum(t.numel() for t in part) >= PART_NUMBERS):
            yield part
            part = []
        part.append(tensor)
    if part:
        yield part


@contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[Processes]:
    """Within the block, the processes of `launch` are connected by gloo, and on GPUs also by NCCL.

    A process group that the caller has opened is used and left open.
    """
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
        return
    if launch.count == 1:
        yield Processes(0, 1)
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=launch.rendezvous,
        rank=launch.rank,
        world_size=launch.count,
        timeout=TIMEOUT,
    )
    try:
        yield Processes(launch.rank, launch.count)
    finally:
        dist.destroy_process_group()


def choose_device(name: str | None, local_rank: int) -> torch.device:
    """The device called `name`; by default this process's GPU, or the CPU if there are no GPUs.

    ``InputError`` for a device that this machine does not have.
    """
    gpus = torch.cuda.device_count()
    try:
        device = torch.device(name or ("cuda" if gpus else "cpu"))
    except RuntimeError as error:
        raise InputError(f"there is no device {name!r}; there are cpu and cuda") from error
    if device.type != "cuda":
        return device
    if (device.index or 0) >= gpus:
        raise InputError(f"the device is {name}, but there are {gpus} GPUs here")
    # SLURM may show each process only its own GPU.
    return torch.device("cuda", local_rank % gpus if device.index is None else device.index)
