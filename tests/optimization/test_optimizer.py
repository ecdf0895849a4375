import pytest
import torch

import pgpc
from pgpc.models.student import Student
from pgpc.optimization.config import OptimizerConfig
from pgpc.optimization.optimizer import learning_rate, make_optimizer, projection_factor, set_learning_rate


def test_reference_schedule(golden):
    expected = golden.pieces["learning_rate"]
    config = OptimizerConfig(
        lr=expected["base"], warmup=expected["warmup_iters"], warmup_ratio=expected["warmup_ratio"]
    )
    for step, value in expected["at"].items():
        assert learning_rate(int(step), config, expected["max_iters"]) == pytest.approx(value, rel=1e-9)


def test_groups_hold_every_parameter_once_with_its_rate_and_decay():
    config = pgpc.override(pgpc.preset("streets"), {"model.head_channels": 8, "contrast.dim": 8, "contrast.hidden": 8})
    student = Student(config.model, projection=(config.contrast.hidden, config.contrast.dim))
    optimizer = make_optimizer(student, config.optimizer)
    names = {id(p): name for name, p in student.named_parameters()}
    groups = [{names[id(p)] for p in group["params"]} for group in optimizer.param_groups]
    assert sum(map(len, groups)) == len(names) == len(set().union(*groups))
    encoder, norms, decoder, projection = groups
    assert all(n.startswith("segmenter.encoder.") and "norm" not in n for n in encoder)
    assert all(n.startswith("segmenter.encoder.") and "norm" in n for n in norms)
    assert all(n.startswith("segmenter.decode_head.") for n in decoder)
    assert any(".bn." in n for n in decoder)
    assert all(n.startswith("projection.") for n in projection)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.01, 0.0, 0.01, 0.01]
    set_learning_rate(optimizer, 2.0)
    assert [g["lr"] for g in optimizer.param_groups] == [2.0, 2.0, 20.0, 20.0]
    set_learning_rate(optimizer, 2.0, projection=0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [2.0, 2.0, 20.0, 10.0]


def test_the_pyramid_of_a_plain_transformer_learns_as_fast_as_the_decoder():
    changes = {"model.encoder": "test_vit", "model.head_channels": 8, "model.pretrained": None}
    config = pgpc.override(pgpc.preset("streets"), changes)
    student = Student(config.model)
    groups = make_optimizer(student, config.optimizer).param_groups
    names = {id(p): name.removeprefix("segmenter.") for name, p in student.named_parameters()}
    encoder, norms, decoder = ({names[id(p)] for p in group["params"]} for group in groups)
    assert all(name.startswith("encoder.vit.") for name in encoder | norms)
    assert {name for name in decoder if not name.startswith("decode_head.")} == {
        name for name in names.values() if name.startswith("encoder.pyramid.")
    }
    assert len(encoder) + len(norms) + len(decoder) == len(names)


def test_sgd_decays_all_and_has_momentum():
    config = pgpc.override(pgpc.preset("streets/proca"), {"model.encoder": "test_resnet"})
    optimizer = make_optimizer(Student(config.model), config.optimizer)
    assert isinstance(optimizer, torch.optim.SGD)
    groups = optimizer.param_groups
    assert [(g["weight_decay"], g["momentum"], g["factor"]) for g in groups] == [
        (5e-4, 0.9, 1.0),
        (5e-4, 0.9, 1.0),
        (5e-4, 0.9, 10.0),
    ]


def test_the_projection_head_starts_slowly_if_asked_to():
    factors = [projection_factor(step, start=400, head_warmup=4) for step in (0, 399, 400, 401, 403, 404, 1000)]
    assert factors == [0.25, 0.25, 0.25, 0.5, 1.0, 1.0, 1.0]
    assert projection_factor(400, start=400, head_warmup=0) == 1.0


def test_without_decay_the_rate_depends_on_no_length():
    config = OptimizerConfig(lr=0.3, warmup=4, power=0)
    for step in (0, 3, 4, 9):
        assert learning_rate(step, config, 10) == learning_rate(step, config, 99)
    assert learning_rate(4, config, 10) == learning_rate(9, config, 10) == 0.3
