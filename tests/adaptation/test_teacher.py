import pytest
import torch
from timm.layers import DropPath
from torch import nn

from pgpc.adaptation.teacher import make_teacher, teacher_mode, update_teacher


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), DropPath(0.5))


def fill(module, value):
    for p in module.parameters():
        p.data.fill_(value)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (1, 0.5), (3, 0.25), (99, 0.1), (10_000, 0.1)])
def test_average_by_hand(step, expected):
    """With teacher 0 and student 1 the teacher becomes 1 - min(1 - 1/(t+1), 0.9)."""
    student = network()
    teacher = make_teacher(student)
    fill(teacher, 0.0)
    fill(student, 1.0)
    update_teacher(teacher, student, step, decay=0.9)
    for p in teacher.parameters():
        torch.testing.assert_close(p, torch.full_like(p, expected))


def test_buffers_are_left_alone():
    student = network()
    teacher = make_teacher(student)
    student[1].running_mean.fill_(7.0)
    update_teacher(teacher, student, 0, decay=0.9)
    assert not teacher[1].running_mean.any()


def test_the_teacher_is_frozen_and_independent():
    student = network()
    teacher = make_teacher(student)
    fill(student, 1.0)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not all((p == 1).all() for p in teacher.parameters())


def test_mode_uses_batch_statistics_without_any_dropping():
    teacher = make_teacher(network())
    teacher.eval()
    teacher_mode(teacher)
    x = torch.randn(16, 3)
    out = teacher(x)
    torch.testing.assert_close(out, teacher(x))  # nothing is dropped
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)  # the batch's own statistics
