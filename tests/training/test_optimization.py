import pytest

import pgpc
from pgpc.config import OptimizerConfig
from pgpc.training.optimization import learning_rate, make_optimizer, set_learning_rate
from pgpc.training.student import Student


def test_reference_schedule(golden):
    expected = golden.pieces["learning_rate"]
    config = OptimizerConfig(
        lr=expected["base"], warmup=expected["warmup_iters"], warmup_ratio=expected["warmup_ratio"]
    )
    for step, value in expected["at"].items():
        assert learning_rate(int(step), config, expected["max_iters"]) == pytest.approx(value, rel=1e-9)


def test_groups_hold_every_parameter_once_with_its_rate_and_decay():
    config = pgpc.override(pgpc.preset("streets"), {"model.head_channels": 8, "contrast.dim": 8, "contrast.hidden": 8})
    student = Student(config)
    optimizer = make_optimizer(student, config.optimizer)
    names = {id(p): name for name, p in student.named_parameters()}
    groups = [{names[id(p)] for p in group["params"]} for group in optimizer.param_groups]
    assert sum(map(len, groups)) == len(names) == len(set().union(*groups))
    encoder, norms, heads = groups
    assert all(n.startswith("segmenter.encoder.") and "norm" not in n for n in encoder)
    assert all(n.startswith("segmenter.encoder.") and "norm" in n for n in norms)
    assert any("projection" in n for n in heads)
    assert any("decode_head" in n and ".bn." in n for n in heads)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.01, 0.0, 0.01]
    set_learning_rate(optimizer, 2.0)
    assert [g["lr"] for g in optimizer.param_groups] == [2.0, 2.0, 20.0]
