"""Products with drawn rows: against the rows gathered, in value and all gradients, and what they hold in memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pgpc.contrast import PixelContrast, info_nce, loss, reliable
from pgpc.contrast.config import ContrastConfig
from pgpc.contrast.products import drawn_products, rows_of
from tests.helpers.tensors import unit

K, M, N, S, D = 3, 5, 4, 50, 8
"""S is more than `loss.ALL_PRODUCTS` times N."""


@pytest.fixture
def inputs():
    """Anchors, positives and bank; and an index in which rows repeat and others are missing."""
    return unit(K, M, D).requires_grad_(), unit(K, D), unit(K, S, D).requires_grad_(), torch.randint(S, (K, M, N))


def test_products_by_hand():
    anchors = torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])
    bank = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 10.0]]])
    out = drawn_products(anchors, bank, torch.tensor([[[1, 0, 1]], [[0, 1, 0]]]))
    assert out.tolist() == [[[2.0, 1.0, 2.0]], [[8.0, 50.0, 8.0]]]


def test_products_and_both_gradients_equal_those_of_gathered_rows(inputs):
    anchors, _, bank, index = inputs
    ours = drawn_products(anchors, bank, index)
    gathered = torch.stack([bank[k][index[k]] for k in range(K)])  # (K, M, N, D)
    theirs = (anchors[:, :, None] * gathered).sum(-1)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(K, M, N)
    for one, other in zip(*(torch.autograd.grad((p * weights).sum(), (anchors, bank)) for p in (ours, theirs))):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_anchors_need_not_lie_together_and_indices_may_be_short(inputs, dtype):
    anchors, _, bank, index = inputs
    scattered = anchors.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(
        drawn_products(scattered, bank, index.to(dtype)), drawn_products(anchors, bank, index), atol=0, rtol=0
    )


def test_rows_of_each_class(inputs):
    bank, index = inputs[2], torch.randint(S, (K, N))
    assert torch.equal(rows_of(bank, index), torch.stack([bank[k, index[k]] for k in range(K)]))


def test_the_loss_is_the_same_whichever_way_its_products_are_found(inputs, monkeypatch):
    found = []
    for most in (0, S):  # drawn rows only, then all rows of the bank
        monkeypatch.setattr(loss, "ALL_PRODUCTS", {"cpu": most})
        value = info_nce(*inputs, 0.3)
        found.append((value, *torch.autograd.grad(value, (inputs[0], inputs[2]))))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other)


def test_negatives_that_anchors_share_equal_the_same_ones_drawn_for_each(inputs):
    *features, index = inputs
    shared, each = (info_nce(*features, i, 0.3) for i in (index[:, 0], index[:, :1].expand(K, M, N)))
    torch.testing.assert_close(shared, each)
    torch.testing.assert_close(*(torch.autograd.grad(value, inputs[0])[0] for value in (shared, each)))


@pytest.mark.parametrize("bad", [-1, S])
@pytest.mark.parametrize("shape", [(K, M, N), (K, N)])
def test_an_index_beside_the_bank_is_refused(inputs, shape, bad):
    index = torch.zeros(shape, dtype=torch.long)
    index[(1,) * len(shape)] = bad
    with pytest.raises(RuntimeError, match=r"must lie in \[0, 50\)"):
        info_nce(*inputs[:3], index, 0.5)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that an operator returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        new = [
            leaf.untyped_storage().nbytes() // leaf.itemsize
            for leaf in tree_leaves(out)
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in self.given
        ]
        self.numel = max(self.numel, *new, 0)
        return out


def test_neither_the_negatives_nor_all_products_are_ever_held():
    anchors, positives, bank = unit(2, 6, 16).requires_grad_(), unit(2, 16), unit(2, 900, 16)
    index = torch.randint(900, (2, 6, 10))
    with Largest() as largest:
        largest.given = {bank.untyped_storage().data_ptr()}
        info_nce(anchors, positives, bank, index, 0.5).backward()
    assert largest.numel <= 2 * 6 * max(10, 16)  # K M N products, or the gradient of the anchors


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(K, M, N), (K, M, S), (K, N)])
def test_info_nce_compiles_to_one_graph(inputs, shape):
    index = torch.randint(S, shape)
    compiled = torch.compile(info_nce, fullgraph=True, backend="aot_eager")(*inputs[:3], index, 0.5)
    eager = info_nce(*inputs[:3], index, 0.5)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(*(torch.autograd.grad(value, inputs[0])[0] for value in (compiled, eager)))


@pytest.mark.slow
@pytest.mark.parametrize("negatives_per", ["anchor", "class"])
def test_a_whole_step_is_one_graph(negatives_per):
    """All of it but what cannot be traced, a generator that is passed in: here torch's own."""
    sizes = {"r": 2, "anchors": 3, "negatives": N, "bank_size": S, "quota": 9, "pool": 12, "dim": D}
    contrast = PixelContrast(ContrastConfig(**sizes, negatives_per=negatives_per), K)
    features, logits = F.normalize(torch.randn(1, D, 4, 4), dim=1), torch.randn(1, K, 4, 4)
    labels, usable = logits.argmax(1), torch.ones(1, 4, 4, dtype=torch.bool)

    @torch.compile(fullgraph=True, backend="eager")
    def step(anchors):
        sure = reliable(logits, 0.5)
        contrast.enqueue_source(features, labels, None)
        contrast.enqueue_target(features, logits, labels, usable, sure, None)
        return contrast.loss(anchors, labels, sure, None)[0]

    assert step(features) > 0
