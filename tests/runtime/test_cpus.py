"""How many CPUs a process may use."""

import os

import pytest

from pgpc.runtime import cpus
from pgpc.runtime.cpus import cgroup_cpus, limit_threads, own_cpus, usable_cpus, use_at_most


@pytest.fixture(autouse=True)
def no_share(monkeypatch):
    monkeypatch.setattr(cpus, "_share", None)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


def written(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        # The smallest of the group and all that it is part of.
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "800000 100000"}, 3.0),
        # A container sees its own group as the root.
        ("0::/../../elsewhere", {"cpu.max": "200000 100000"}, 2.0),
        (
            "11:cpu,cpuacct:/job\n10:cpuset:/",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "50000", "cpu,cpuacct/job/cpu.cfs_period_us": "25000"},
            2.0,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/", {}, None),
    ],
)
def test_time_that_control_groups_give(tmp_path, groups, files, expected):
    root = written(tmp_path / "cgroup", {**files, "unrelated": ""})
    process = tmp_path / "process"
    process.write_text(f"{groups}\n")
    assert cgroup_cpus(process, root) == expected


def test_another_system_has_no_control_groups(tmp_path):
    assert cgroup_cpus(tmp_path / "none", tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to CPUs")
def test_cpus_that_the_process_may_run_on():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_share_is_what_it_is_said_to_be(monkeypatch):
    use_at_most(6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert (usable_cpus(), own_cpus()) == (6, 6)


def test_processes_of_a_launcher_share_the_cpus(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(usable_cpus() + 1))
    assert own_cpus() == 1


def test_threads_are_left_alone_where_somebody_has_said_how_many():
    import torch

    use_at_most(1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        limit_threads()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
