from collections import deque

import torch

from pgpc.contrast import FeatureBank


def test_push_and_prototype_by_hand():
    bank = FeatureBank(2, 3, 2)
    bank.push(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[5.0, 5.0], [5.0, 5.0]]]), torch.tensor([2, 0]))
    assert bank.filled.tolist() == [2, 0]
    assert bank.prototypes().tolist() == [[0.5, 0.5], [0.0, 0.0]]
    bank.push(torch.tensor([[[0.0, 3.0], [0.0, 6.0]], [[1.0, 1.0], [9.0, 9.0]]]), torch.tensor([2, 1]))
    assert bank.filled.tolist() == [3, 1]
    torch.testing.assert_close(bank.prototypes(), torch.tensor([[0.0, 10 / 3], [1.0, 1.0]]))  # (1, 0) is gone


def test_equals_one_queue_per_class():
    g = torch.Generator().manual_seed(0)
    bank = FeatureBank(4, 7, 3)
    queues = [deque(maxlen=7) for _ in range(4)]
    for _ in range(50):
        rows = torch.randn(4, 5, 3, generator=g)
        count = torch.randint(0, 6, (4,), generator=g)
        bank.push(rows, count)
        for c in range(4):
            queues[c].extend(rows[c, : count[c]])
    for c in range(4):
        held = bank.rows[c, : bank.filled[c]]
        assert sorted(map(tuple, held.tolist())) == sorted(tuple(r.tolist()) for r in queues[c])
    torch.testing.assert_close(bank.prototypes(), torch.stack([torch.stack(list(q)).mean(0) for q in queues]))


def test_content_survives_a_checkpoint():
    bank, other = FeatureBank(2, 3, 2), FeatureBank(2, 3, 2)
    bank.push(torch.randn(2, 2, 2), torch.tensor([2, 1]))
    other.load_state_dict(bank.state_dict())
    for b in (bank, other):
        b.push(torch.ones(2, 2, 2), torch.tensor([2, 2]))
    assert torch.equal(bank.rows, other.rows)
    assert torch.equal(bank.cursor, other.cursor)
