import torch

from pgpc.adaptation.pseudo_labels import pseudo_labels


def logits_with(confident):
    """Class 2 everywhere, with probability close to 1 where `confident` (B, H, W)."""
    logits = torch.zeros(*confident.shape, 4)
    logits[..., 2] = torch.where(confident, 20.0, 0.5)
    return logits.permute(0, 3, 1, 2)


def test_weight_is_the_share_of_the_whole_batch_and_margins_are_zeroed_after_it():
    confident = torch.zeros(2, 4, 5, dtype=torch.bool)
    confident[0] = True  # 20 of 40 pixels, all in the first image
    valid = torch.ones_like(confident)
    valid[1, :, 4] = False
    out = pseudo_labels(logits_with(confident), valid, confidence=0.968, ignore_top=1, ignore_bottom=2)
    assert (out.labels == 2).all()
    expected = torch.zeros(2, 4, 5)
    expected[:, 1:2] = 0.5
    expected[1, :, 4] = 0
    assert torch.equal(out.weight, expected)
    assert torch.equal(out.usable, expected > 0)


def test_no_margins_leave_every_row():
    confident = torch.ones(1, 3, 3, dtype=torch.bool)
    out = pseudo_labels(logits_with(confident), confident, confidence=0.9, ignore_top=0, ignore_bottom=0)
    assert out.usable.all()
    assert (out.weight == 1).all()


def test_a_pixel_exactly_at_the_threshold_counts():
    logits = torch.zeros(1, 2, 1, 4)
    out = pseudo_labels(logits, torch.ones(1, 1, 4, dtype=torch.bool), confidence=0.5, ignore_top=0, ignore_bottom=0)
    assert (out.weight == 1).all()


def test_reference_figures(golden):
    """The published implementation's weight and label histogram for the same logits."""
    expected = golden.pieces["pseudo_label"]
    logits = 3 * golden.normal("pseudo/logits", (2, 19, 32, 32))
    logits[0] *= 3
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    out = pseudo_labels(logits, valid, confidence=expected["threshold"], ignore_top=4, ignore_bottom=6)
    assert out.weight.max().item() == expected["weight"]
    assert out.weight.sum().item() == expected["weight_sum"]
    assert torch.bincount(out.labels.flatten(), minlength=19).tolist() == expected["label_histogram"]
