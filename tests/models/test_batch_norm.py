"""Processes are threads here that meet in stand-ins for the collectives; tests/training has real processes."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from pgpc.models import batch_norm
from pgpc.models.batch_norm import SynchronizedBatchNorm2d, frozen_statistics, synchronize_batch_norm


class Processes:
    """``run(function, inputs)`` calls ``function(input)`` for all inputs at once, as processes of one group."""

    def __init__(self, count):
        self.count = count
        self.collectives = []
        self._barrier = threading.Barrier(count, timeout=20)
        self._shared = [None] * count
        self._local = threading.local()

    def world_size(self):
        return self.count

    def all_gather(self, x):
        if self._local.rank == 0:
            self.collectives.append("gather")
        return torch.stack(self._meet(x))

    def all_reduce_sum(self, x):
        if self._local.rank == 0:
            self.collectives.append("reduce")
        return x.copy_(sum(self._meet(x)))  # the real one overwrites its argument, too

    def _meet(self, x):
        self._shared[self._local.rank] = x.clone()
        self._barrier.wait()
        parts = list(self._shared)
        self._barrier.wait()
        return parts

    def run(self, function, inputs):
        def one(rank):
            self._local.rank = rank
            return function(inputs[rank])

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(one, range(self.count)))


@pytest.fixture
def processes(monkeypatch):
    group = Processes(3)
    for name in ("world_size", "all_gather", "all_reduce_sum"):
        monkeypatch.setattr(batch_norm.distributed, name, getattr(group, name))
    return group


def parts_of_a_batch(dtype=torch.double):
    """Each process's pixels have a mean and a spread of their own."""
    g = torch.Generator().manual_seed(0)
    return [(r + 1) * torch.randn(2, 4, 5, 3, generator=g, dtype=dtype) + 3 * r for r in range(3)]


def layer(**options):
    like = nn.BatchNorm2d(4, **options)
    if like.affine:
        nn.init.uniform_(like.weight, 0.5, 2.0)
        nn.init.uniform_(like.bias, -1.0, 1.0)
    return like


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_equals_batch_norm_of_the_whole_batch(processes, options):
    """Values, all gradients and running statistics, in double precision."""
    torch.manual_seed(0)
    whole, parts = layer(**options).double(), parts_of_a_batch()
    replicas = [SynchronizedBatchNorm2d(copy.deepcopy(whole)) for _ in parts]
    factor = torch.randn(6, 4, 5, 3, dtype=torch.double)

    x = torch.cat(parts).requires_grad_()
    expected = [whole(x), whole(x)][-1]  # twice, for the running statistics
    (factor * expected.square()).sum().backward()

    def pass_(args):
        replica, part, factor = args
        part = part.clone().requires_grad_()
        out = [replica(part), replica(part)][-1]
        (factor * out.square()).sum().backward()
        return out.detach(), part.grad

    results = processes.run(pass_, list(zip(replicas, parts, factor.split(2))))
    torch.testing.assert_close(torch.cat([out for out, _ in results]), expected.detach())
    torch.testing.assert_close(torch.cat([grad for _, grad in results]), x.grad)
    for name, p in whole.named_parameters():
        torch.testing.assert_close(sum(r.get_parameter(name).grad for r in replicas), p.grad)
    for replica in replicas:
        torch.testing.assert_close(dict(replica.named_buffers()), dict(whole.named_buffers()))
    assert processes.collectives == ["gather", "gather", "reduce"]


def test_a_mean_far_from_zero_does_not_swallow_the_variance(processes):
    parts = [part + 1e4 for part in parts_of_a_batch()]
    expected = nn.BatchNorm2d(4).double()(torch.cat(parts))
    results = processes.run(SynchronizedBatchNorm2d(layer(affine=False)), [part.float() for part in parts])
    torch.testing.assert_close(torch.cat(results).double(), expected.detach(), atol=2e-3, rtol=0)


def test_without_gradients_and_in_bfloat16(processes):
    parts = parts_of_a_batch(torch.float)
    expected = nn.BatchNorm2d(4)(torch.cat(parts)).detach()

    @torch.no_grad()
    def pass_(args):
        replica, part = args
        return replica(part)

    replicas = [SynchronizedBatchNorm2d(nn.BatchNorm2d(4)) for _ in parts]
    results = torch.cat(processes.run(pass_, [(r, part.bfloat16()) for r, part in zip(replicas, parts)]))
    assert results.dtype == torch.bfloat16
    torch.testing.assert_close(results.float(), expected, atol=0.05, rtol=0)
    assert replicas[0].running_mean.dtype == torch.float32
    torch.testing.assert_close(replicas[0].running_mean, 0.1 * torch.cat(parts).mean((0, 2, 3)), atol=1e-2, rtol=0)


def test_gradients_of_bfloat16_activations_are_bfloat16(processes):
    like = layer()

    def pass_(part):
        part = part.bfloat16().requires_grad_()
        replica = SynchronizedBatchNorm2d(copy.deepcopy(like))
        with torch.autocast("cpu", torch.bfloat16):
            replica(part).float().square().sum().backward()
        return part.grad, replica.weight.grad

    for grad, of_weight in processes.run(pass_, parts_of_a_batch()):
        assert grad.dtype == torch.bfloat16
        assert of_weight.dtype == torch.float32


def test_in_evaluation_it_is_batch_norm(processes):
    like = layer().eval()
    like.running_mean.fill_(2.0)
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(SynchronizedBatchNorm2d(like)(x), like(x))
    assert processes.collectives == []


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet"])
def test_networks_keep_names_tensors_modes_and_what_they_compute(processes, name):
    """The second one's layers are timm's, with the activation inside."""
    network = timm.create_model(name, num_classes=3)
    frozen = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    before, original = network.state_dict(keep_vars=True), copy.deepcopy(network)
    inner = sum(isinstance(m, BatchNormAct2d) for m in network.modules())
    assert (inner > 0) == (name == "test_byobnet")

    synchronize_batch_norm(network)
    swapped = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(swapped) > 5
    assert all(type(m) is SynchronizedBatchNorm2d for m in swapped)
    assert [m.training for m in swapped].count(False) == 1
    assert not frozen.training
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[key] is value for key, value in before.items())

    x = torch.randn(3, 3, 64, 64)
    replicas = [copy.deepcopy(network) for _ in range(3)]
    results = processes.run(lambda args: args[0](args[1]), list(zip(replicas, x.split(1))))
    torch.testing.assert_close(torch.cat(results), copy.deepcopy(original)(x), atol=1e-4, rtol=1e-4)
    assert torch.equal(network.eval()(x), original.eval()(x))


def test_a_single_process_swaps_nothing():
    network = nn.Sequential(nn.BatchNorm2d(4))
    synchronize_batch_norm(network)
    assert type(network[0]) is nn.BatchNorm2d


def test_frozen_statistics_stay_and_the_result_is_that_of_the_batch():
    norm, other = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 5
    before = {name: value.clone() for name, value in norm.named_buffers()}
    with frozen_statistics(torch.nn.Sequential(norm)):
        got = norm(x)
    assert torch.equal(got, other(x))
    for name, value in before.items():
        assert torch.equal(norm.get_buffer(name), value), name
    norm(x)
    assert torch.equal(norm.running_mean, other.running_mean) and norm.running_mean.abs().sum() > 0
