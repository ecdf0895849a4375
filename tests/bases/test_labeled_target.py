"""Semi-supervised adaptation: the target's few labels in the training step and in a run."""

from __future__ import annotations

import pytest
import torch

import pgpc
from pgpc.bases import make_base
from pgpc.bases.losses import cross_entropy
from pgpc.models.student import ForwardRequest
from pgpc.training import Resume
from tests.helpers.training import SMALL, new_state, open_pair, train_step

LABELED = {"data.target_labels": "split:train"}
STILL = {**SMALL, "model.dropout": 0.0}


def first_batch(config, labeled=None):
    source, target = open_pair(config)
    return next(make_base(config).batches(source, target, labeled))


def gradients(state):
    return {name: p.grad.clone() for name, p in state.student.named_parameters() if p.grad is not None}


def test_the_labeled_loss_is_that_of_the_labels_and_its_gradient_is_added(tiny):
    """Source-only, whose other loss is left alone: the step is the sum of the two."""
    config = tiny("streets/source-only", STILL)
    batch = first_batch(config, open_pair(config)[1])
    images, labels = batch.require_labeled()
    plain, alone, both = (new_state(config) for _ in range(3))
    train_step(plain, batch._replace(labeled_images=None, labeled_labels=None))
    log = train_step(both, batch)
    (output,) = alone.student(ForwardRequest(images))
    loss = cross_entropy(output.logits, labels, align_corners=alone.align_corners)
    torch.testing.assert_close(log["loss/labeled_target"], loss.detach())
    loss.backward()
    theirs, ours = gradients(plain), gradients(alone)
    for name, found in gradients(both).items():
        torch.testing.assert_close(found, theirs[name] + ours[name], rtol=1e-3, atol=1e-6, msg=name)


def test_a_base_without_such_a_loss_refuses(tiny):
    stages = {"proca.source_iterations": 1, "proca.self_training_iterations": 1, "contrast.start": 1}
    config = tiny(
        "streets/proca+pgpc",
        {**stages, **LABELED, "data.crop": None, "data.source_size": (128, 64), "contrast.fill": 0},
    )
    with pytest.raises(ValueError, match=r"data.target_labels must be none with base=proca"):
        make_base(config)


@pytest.mark.slow
def test_a_run_reports_the_loss_and_goes_on_with_the_same_list_only(tiny, tmp_path):
    list_file, data = tmp_path / "labeled.txt", tiny().data
    names = pgpc.data.domains.open_shards("streets:target", data, "train").names
    list_file.write_text("\n".join(names[:2]))
    changes = {**SMALL, "training.iterations": 2, "training.eval_interval": 2, "contrast.start": 1, "contrast.fill": 0}
    named = {"data.target_labels": str(list_file), "evaluation.criteria_images": 0}
    config = tiny(changes={**changes, **named})
    result = pgpc.train(config, out=tmp_path / "run")
    assert result.metrics["loss/labeled_target"] > 0
    moved = list_file.rename(tmp_path / "moved.txt")
    again = pgpc.override(config, {"data.target_labels": str(moved)})
    pgpc.train(again, out=tmp_path / "run", begin=Resume(tmp_path / "run"))
    moved.write_text("\n".join(names[:3]))
    for named, what in ((str(moved), "list of the target's labels, /"), ("split:train", "list of .* labels, none now"),
                        (None, "target's labels, none now, list of")):  # fmt: skip
        other = pgpc.override(config, {"data.target_labels": named})
        with pytest.raises(ValueError, match=f"the contents of the {what}.* have changed"):
            pgpc.train(other, out=tmp_path / "run", begin=Resume(tmp_path / "run"))
