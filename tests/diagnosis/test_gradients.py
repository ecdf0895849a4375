import itertools

import pytest
import torch

from pgpc.bases import make_base
from pgpc.bases.passes import backward
from pgpc.bases.teacher_forward import teacher_forward
from pgpc.diagnosis.gradients import cosine, encoder_gradients, share_of_contrast
from tests.helpers.training import new_state, train_step, training_batches


def test_share_and_cosine_by_hand():
    assert share_of_contrast({"source": 3.0, "contrast": 1.0}) == 25
    assert share_of_contrast({"contrast": 0.0}) == 0
    assert cosine(torch.tensor([3.0, 4.0]), torch.tensor([0.0, -2.0])) == pytest.approx(-0.8)
    assert cosine(torch.zeros(2), torch.ones(2)) is None


@pytest.mark.slow
@pytest.mark.parametrize("view", ["target", "mixed"])
def test_the_parts_add_up_to_the_gradient_of_the_step(tiny, view):
    changes = {"contrast.anchor_view": view, "contrast.weight": 2.0, "adaptation.masked_weight": 1.0}
    still = {"model.dropout": 0.0, "model.drop_path": 0.0, "adaptation.confidence": 0.01}
    config = tiny(changes={**changes, **still})
    state, base = new_state(config), make_base(config)
    *batches, batch = itertools.islice(training_batches(config), 3)
    for before in batches:
        train_step(state, before)
    seen = teacher_forward(
        state.teacher, batch.require_target(), None, adaptation=config.adaptation, contrast=config.contrast
    )

    def passes(log):
        return base.passes(state, batch, seen, torch.Generator().manual_seed(0), log)

    log = {}
    parts = encoder_gradients(state, passes(log), log)
    assert next(iter(parts)) == "source" and set(parts) == {"source", "contrast", "target", "masked"}
    assert all(gradient.norm() > 0 for gradient in parts.values())
    state.optimizer.zero_grad()
    backward(state, passes({}))
    whole = torch.cat([p.grad.flatten() for p in state.student.segmenter.encoder.parameters()])
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(0), whole, rtol=1e-4, atol=1e-6)
