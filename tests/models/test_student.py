"""Several requests to the student in one pass."""

import pytest
import torch

from pgpc.models.student import ForwardRequest, Student

MERGE = {"training.merge_passes": True, "model.dropout": 0.0, "model.drop_path": 0.0}


@pytest.fixture
def images():
    return torch.randn(3, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def made(config):
    torch.manual_seed(0)
    contrast, training = config.contrast, config.training
    return Student(
        config.model,
        projection=(contrast.hidden, contrast.dim),
        merge_passes=training.merge_passes is True,
        precision=training.precision,
    )


def outputs(student, *requests):
    """Of requests in one pass, and of each by itself, in training."""
    calls = []
    hook = student.segmenter.encoder.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    together = student(*requests)
    hook.remove()
    return together, [student(request)[0] for request in requests], calls


@pytest.mark.parametrize("name", ["streets", "streets/hrda+pgpc"])
def test_requests_are_encoded_together_and_decoded_apart(tiny, images, name):
    config = tiny(name, MERGE | ({"model.detail_crop": 32} if "hrda" in name else {}))
    student = made(config)
    box = (8, 24) if "hrda" in name else None
    first, second, third = images
    requests = (
        ForwardRequest(first, box=box),
        ForwardRequest(second, decode=False, project=True),
        ForwardRequest(third, project=True, box=box),
    )
    together, alone, calls = outputs(student, *requests)
    assert calls[0] == 6
    assert [(o.logits is not None, o.hidden is not None) for o in together] == [(1, 0), (0, 1), (1, 1)]
    assert (together[0].detail is None) == (box is None)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a._asdict() | {"features": list(a.features)}, b._asdict(), rtol=1e-4, atol=1e-5)


def test_an_encoder_with_batch_norm_is_refused(tiny):
    with pytest.raises(ValueError, match=r"merge_passes must be False for an encoder with batch norm.*'test_resnet'"):
        made(tiny(changes={**MERGE, "model.encoder": "test_resnet"}))


def test_requests_are_encoded_apart_where_they_are_not_to_be_merged(tiny, images):
    student = made(tiny()).eval()
    together, alone, calls = outputs(student, ForwardRequest(images[0]), ForwardRequest(images[1]))
    assert calls == [2, 2]
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a.logits, b.logits)


def test_requests_of_other_sizes(tiny, images):
    student = made(tiny(changes=MERGE)).eval()
    small = images[1, :, :, :32, :32]
    (_, a), (_, b), calls = outputs(student, ForwardRequest(images[0]), ForwardRequest(small))
    assert calls == [2, 2]
    assert torch.equal(a.logits, b.logits)


def test_the_projection_head_takes_part_in_the_gradient_exactly_where_it_is_not_used(tiny, images):
    student = made(tiny())
    for used in (False, True):
        student.zero_grad()
        given = student(ForwardRequest(images[0]), ForwardRequest(images[1], project=used))
        sum(x.square().sum() for out in given for x in (out.logits, out.hidden) if x is not None).backward()
        gradients = [p.grad for n, p in student.projection.named_parameters() if not n.startswith("out")]
        assert all(g is not None and bool(g.any()) == used for g in gradients)
