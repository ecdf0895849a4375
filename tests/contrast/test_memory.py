import math
from collections import deque
from fractions import Fraction

import torch

from pgpc.contrast import FeatureBank, PrototypeBank
from pgpc.contrast.memory import UNIT


def test_push_and_prototype_by_hand():
    bank = PrototypeBank(2, 3, 2)
    bank.enqueue(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[5.0, 5.0], [5.0, 5.0]]]), torch.tensor([2, 0]))
    assert bank.filled.tolist() == [2, 0]
    assert bank.prototypes().tolist() == [[0.5, 0.5], [0.0, 0.0]]
    bank.enqueue(torch.tensor([[[0.0, 3.0], [0.0, 6.0]], [[1.0, 1.0], [9.0, 9.0]]]), torch.tensor([2, 1]))
    assert bank.filled.tolist() == [3, 1]
    torch.testing.assert_close(bank.prototypes(), torch.tensor([[0.0, 10 / 3], [1.0, 1.0]]))  # (1, 0) is gone


def test_equals_one_queue_per_class():
    g = torch.Generator().manual_seed(0)
    bank = PrototypeBank(4, 7, 3)
    queues = [deque(maxlen=7) for _ in range(4)]
    for _ in range(50):
        rows = torch.randn(4, 5, 3, generator=g)
        count = torch.randint(0, 6, (4,), generator=g)
        bank.enqueue(rows, count)
        for c in range(4):
            queues[c].extend(rows[c, : count[c]])
    for c in range(4):
        held = bank.rows[c, : bank.filled[c]]
        assert sorted(map(tuple, held.tolist())) == sorted(tuple(r.tolist()) for r in queues[c])
    torch.testing.assert_close(bank.prototypes(), torch.stack([torch.stack(list(q)).mean(0) for q in queues]))


def test_content_survives_a_checkpoint():
    bank, other = PrototypeBank(2, 3, 2), PrototypeBank(2, 3, 2)
    bank.enqueue(torch.randn(2, 2, 2), torch.tensor([2, 1]))
    other.load_state_dict(bank.state_dict())
    for b in (bank, other):
        b.enqueue(torch.ones(2, 2, 2), torch.tensor([2, 2]))
    assert torch.equal(bank.rows, other.rows)
    assert torch.equal(bank.cursor, other.cursor)
    assert torch.equal(bank.prototypes(), other.prototypes())


def pushed(bank, steps, generator):
    """`bank` after some steps of random vectors no longer than one, of random numbers of rows."""
    (classes, _, dim), most = bank.rows.shape, 5
    for _ in steps:
        rows = torch.nn.functional.normalize(torch.randn(classes, most, dim, generator=generator), dim=2)
        rows *= 10 ** (-12 * torch.rand(rows.shape, generator=generator))  # more digits than a sum has
        bank.enqueue(rows, torch.randint(most + 1, (classes,), generator=generator))
    return bank


def recomputed(bank):
    """`bank`, its sums made anew from its rows, in the place of what was there."""
    fresh = PrototypeBank(*bank.rows.shape)
    fresh.enqueue(torch.ones_like(fresh.rows[:, :1]), torch.ones_like(fresh.filled))
    fresh.load_state_dict(bank.state_dict())
    return fresh


def test_prototypes_equal_the_full_sum_bit_for_bit_after_many_wraps():
    g, bank = torch.Generator().manual_seed(0), PrototypeBank(3, 17, 6)
    for _ in range(20):
        pushed(bank, range(40), g)
        assert torch.equal(bank.sums, recomputed(bank).sums)
        exact = bank.rows.double().sum(1) / bank.filled.clamp(min=1)[:, None]
        torch.testing.assert_close(bank.prototypes(), exact.float(), atol=UNIT / 2, rtol=1e-7)  # of a float32: 6e-8
    assert bank.filled.tolist() == [17] * 3


def test_prototypes_do_not_depend_on_where_a_run_was_interrupted():
    g, interrupted = torch.Generator().manual_seed(0), PrototypeBank(3, 17, 6)
    for steps in (range(7), range(16), range(27)):
        interrupted = recomputed(pushed(interrupted, steps, g))
    bank = pushed(PrototypeBank(3, 17, 6), range(50), torch.Generator().manual_seed(0))
    assert torch.equal(bank.prototypes(), interrupted.prototypes())


def test_a_checkpoint_holds_the_rows_and_no_sums():
    for bank in (FeatureBank(2, 3, 2), PrototypeBank(2, 3, 2)):
        assert list(bank.state_dict()) == ["rows", "filled", "cursor"]


def test_what_is_not_finite_shows_in_the_prototype():
    for number in (math.nan, math.inf, -math.inf):
        bank = PrototypeBank(1, 2, 2)
        bank.enqueue(torch.tensor([[[number, 1.0]]]), torch.tensor([1]))
        for b in (bank, recomputed(bank)):
            assert [math.isfinite(x) for x in b.prototypes()[0]] == [False, True]


def test_the_sum_of_many_unit_vectors_is_exact():
    size = 1 << 17
    bank = PrototypeBank(1, size, 1)
    bank.enqueue(torch.full((1, size, 1), 1 - 2.0**-24), torch.tensor([size]))
    for number in [2.0**-35, *[2.0**-38] * 64]:  # the latter are below the unit
        bank.enqueue(torch.full((1, 1, 1), number), torch.tensor([1]))
    expected = (size - 65) * Fraction(1 - 2.0**-24) + Fraction(2.0**-35)
    assert Fraction(bank.sums.item()) * Fraction(UNIT) == expected
    assert torch.equal(bank.sums, recomputed(bank).sums)


def test_a_cleared_bank_is_a_new_one():
    bank, new = PrototypeBank(2, 3, 2), PrototypeBank(2, 3, 2)
    bank.enqueue(torch.ones(2, 2, 2), torch.tensor([2, 1]))
    bank.clear()
    for name, buffer in bank.named_buffers():
        assert torch.equal(buffer, new.get_buffer(name)), name
