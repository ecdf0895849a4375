import pytest
import torch

from pgpc.bases.proca.lovasz import lovasz_softmax

IGNORE = 255


def jaccard_loss(wrong, own):
    """1 - IoU of a class whose mispredicted pixels are `wrong`: Eq. 5 of the paper, on sets."""
    truth = {p for p, o in enumerate(own) if o}
    return len(wrong) / len(truth | wrong)


def naive(logits, labels):
    """The definition, pixel by pixel: errors from the worst on times the growth of the Jaccard loss."""
    c = logits.shape[1]
    probability = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, c)
    kept = [p for p, label in enumerate(labels.flatten().tolist()) if label != IGNORE]
    labels = labels.flatten()[kept].tolist()
    losses = []
    for k in set(labels):
        own = [label == k for label in labels]
        error = [1 - probability[p, k] if o else probability[p, k] for p, o in zip(kept, own)]
        order = sorted(range(len(kept)), key=lambda i: -error[i].item())
        before, wrong, loss = 0.0, set(), 0.0
        for i in order:
            wrong = wrong | {i}
            loss = loss + error[i] * (jaccard_loss(wrong, own) - before)
            before = jaccard_loss(wrong, own)
        losses.append(loss)
    return sum(losses) / len(losses)


def random_case(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 4, 6, generator=g, dtype=torch.float64) * 2
    labels = torch.randint(0, 4, (2, 4, 6), generator=g)  # class 4 is absent
    labels[torch.rand(2, 4, 6, generator=g) < 0.2] = IGNORE
    return logits.float(), labels


def test_one_class_by_hand():
    """Two pixels of class 0: one is wrong with probability 3/4, the other with 1/2."""
    logits = torch.tensor([[[[0.25, 0.5]], [[0.75, 0.5]]]]).log()
    loss = lovasz_softmax(logits, torch.tensor([[[0, 0]]]))
    # Errors 3/4 and 1/2; the Jaccard loss of class 0 is 1/2 with one pixel wrong, 1 with two.
    assert loss.item() == pytest.approx(0.75 * 0.5 + 0.5 * 0.5)


def test_a_pixel_of_another_class_joins_the_union():
    """Pixel 0 of class 0 is right with 1/4, pixel 1 of class 1 with 1/4: for each class errors are 3/4 and 3/4."""
    logits = torch.tensor([[[[0.25, 0.75]], [[0.75, 0.25]]]]).log()
    loss = lovasz_softmax(logits, torch.tensor([[[0, 1]]]))
    assert loss.item() == pytest.approx(0.75)  # both wrong: IoU 0, and equal errors factor out


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition_with_its_gradient(seed):
    logits, labels = random_case(seed)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, expected = lovasz_softmax(ours, labels), naive(theirs, labels)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_ignored_pixels_have_no_say():
    logits, labels = random_case(7)
    other = torch.where((labels == IGNORE)[:, None], torch.randn_like(logits), logits).requires_grad_()
    loss = lovasz_softmax(other, labels)
    assert loss.item() == lovasz_softmax(logits, labels).item()
    loss.backward()
    assert not other.grad.abs().sum(1)[labels == IGNORE].any()


def test_nothing_labeled_is_zero_with_a_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((1, 4, 4), IGNORE))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_right_is_zero_and_wrong_is_one():
    labels = torch.tensor([[[0, 0, 1], [2, 1, 1]]])
    right = 200 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert lovasz_softmax(right, labels) == 0
    assert lovasz_softmax(right.roll(1, dims=1), labels) == 1
