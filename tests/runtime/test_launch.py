"""Which of several processes this is, by the environment that torchrun or Slurm sets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from pgpc.runtime.launch import Launch, first_host, is_first, launched

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}
JOB = {
    "SLURM_JOB_ID": "123456",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "gpu[01-04]",
}
"""What a batch script sees."""
STEP = {
    **JOB,
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[02-03]",
}
"""What the last task of ``srun`` sees, on two of the job's four machines."""


def test_a_task_of_srun_is_a_process() -> None:
    assert launched(STEP) == Launch(3, 4, 1, "gpu02", 10_000 + (123_456 * 101 + 2) % 20_000)


def test_what_runs_without_srun_is_one_process_however_many_tasks_the_job_may_start() -> None:
    assert launched({}) is None
    assert launched(JOB) is None
    assert launched({**STEP, "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize("gone", ["SLURM_JOB_ID", "SLURM_LOCALID"])
def test_what_slurm_says_by_halves_is_refused(gone: str) -> None:
    with pytest.raises(ValueError, match=f"{gone} must be a number"):
        launched({name: value for name, value in STEP.items() if name != gone})


def test_what_slurm_need_not_say_is_made_up_for() -> None:
    """The step's number and list; without the number of the task or of tasks there is no step of several."""
    some = {name: value for name, value in STEP.items() if not name.startswith("SLURM_STEP_N")}
    assert launched(some) is None
    nameless = {name: value for name, value in STEP.items() if name not in ("SLURM_STEP_ID", "SLURM_STEP_NODELIST")}
    assert launched(nameless) == Launch(3, 4, 1, "gpu01", 10_000 + (123_456 * 101) % 20_000)
    assert launched({name: value for name, value in STEP.items() if name != "SLURM_PROCID"}) is None


def test_torchrun_counts_before_slurm_and_a_world_of_one_before_both() -> None:
    by_torchrun = Launch(3, 4, 1, "a", 29_500)
    assert launched(TORCHRUN) == by_torchrun
    assert launched({**STEP, **TORCHRUN, "SLURM_STEP_NUM_TASKS": "2"}) == by_torchrun
    assert launched({**STEP, "WORLD_SIZE": "1"}) is None


def test_an_address_that_is_named_is_where_the_tasks_meet() -> None:
    named = {**STEP, "MASTER_ADDR": "login", "MASTER_PORT": "29501", "WORLD_SIZE": "4"}
    assert launched(named) == Launch(3, 4, 1, "login", 29_501)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WORLD_SIZE": "8"}, r"WORLD_SIZE must be what Slurm says \(4\) or be unset, .* but got '8'.*Unset WORLD"),
        ({"RANK": "0"}, r"RANK must be what Slurm says \(3\)"),
        ({"SLURM_STEP_NODELIST": "gpu[01", "SLURM_JOB_NODELIST": ""}, r"list of nodes .* got 'gpu\[01'. Set"),
        ({"SLURM_JOB_ID": "x"}, "SLURM_JOB_ID must be a number"),
    ],
)
def test_what_contradicts_slurm_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launched({**STEP, **changes})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("gpu[01-03,07],login", "gpu01"),
        ("gpu[7,9-11]", "gpu7"),
        ("rack[1-2]node[4,6-8]-ib,x", "rack1node4-ib"),
        ("a-b.example.org", "a-b.example.org"),
        ("10.0.0.[5-6]", "10.0.0.5"),
    ],
)
def test_the_first_host_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_steps_that_run_at_once_meet_at_different_ports() -> None:
    jobs = [{**STEP, "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)} for job in range(20) for step in range(20)]
    ports = {found.port for found in map(launched, jobs) if found is not None}
    assert len(ports) == len(jobs)
    assert min(ports) >= 10_000 and max(ports) < 30_000


def test_one_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert is_first()
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    assert not is_first()
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert is_first()


_JOIN = """
import torch, torch.distributed as dist
from pgpc.runtime import distributed
device = distributed.local_device()
with distributed.process_group(device):
    total = distributed.all_reduce_sum(torch.tensor([float(distributed.rank() + 1)])).item()
    print(device, distributed.rank(), distributed.world_size(), total, dist.get_backend())
assert not dist.is_initialized()
"""


@pytest.mark.slow
def test_two_tasks_of_a_step_join() -> None:
    """Two processes that know nothing but what Slurm tells them, and a port that is surely free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = {name: value for name, value in os.environ.items() if name not in TORCHRUN}
    step = {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(port)}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", _JOIN],
            env={**plain, **step, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        answers = [task.communicate(timeout=120) for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    assert [answer[0].split() for answer in answers] == [["cpu", str(rank), "2", "3.0", "gloo"] for rank in range(2)], (
        answers
    )
