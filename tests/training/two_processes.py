"""What tests start under torchrun: ``torchrun --nproc-per-node 2 two_processes.py pieces|steps OUT [CONFIGS]``.

Also imported by the tests, for the same computation in one process.
"""

import itertools
import json
import random
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

import pgpc
from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.mixing import choose_classes
from pgpc.adaptation.pseudo_labels import pseudo_labels
from pgpc.bases import make_base
from pgpc.classes import CITYSCAPES
from pgpc.config import from_dict
from pgpc.contrast import PixelContrast, reliable
from pgpc.contrast.config import ContrastConfig
from pgpc.data.domains import open_shards
from pgpc.runtime import distributed
from pgpc.training import Resume
from pgpc.training.provenance import _check_alike, check_same_run

sys.path.insert(0, str(Path(__file__).parents[2]))  # torchrun starts this file by its path
from tests.helpers.precision import double_precision, in_double, show_in_double

B, C, D, H = 4, 7, 8, 16


def pieces():
    """Everything that a step takes over all processes, on this process's share of one fixed global batch."""
    g = torch.Generator().manual_seed(0)
    world = distributed.world_size()  # gradients are averaged over processes
    share = B // world
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    labels = torch.randint(0, C - 1, (B, H, H), generator=g)
    labels[0] = 255  # an image without labels, and a class (C - 1) without pixels
    labels[1, :, 8:] = 4
    # Later images are the surer ones: a share of them all is no share of each.
    logits = torch.arange(2, 2 + B)[:, None, None, None] * torch.randn(B, C, H, H, generator=g)
    teacher, student = (F.normalize(torch.randn(B, D, H, H, generator=g), dim=1) for _ in range(2))
    deep, initial = (torch.randn(B, 5, 2, 2, generator=g) for _ in range(2))

    pseudo = pseudo_labels(
        logits[mine], torch.ones(share, H, H, dtype=torch.bool), confidence=0.9, ignore_top=0, ignore_bottom=0
    )
    chosen = choose_classes(labels[mine], C, [np.random.default_rng(i) for i in range(mine.start, mine.stop)])

    deep = deep[mine].requires_grad_()
    distance = feature_distance(deep, initial[mine], labels[mine], things=range(C), share=0.75, num_classes=C)
    distance.backward()

    student, contrasted = student[mine], {}
    for family in ("hybrid", "pixel_to_pixel", "pixel_to_prototype"):
        config = ContrastConfig(
            r=2,
            anchors=32,
            negatives=16,
            bank_size=40,
            quota=24,
            pool=64,
            dim=D,
            positive="target_prototype",
            family=family,
        )
        contrast, anchor_features = PixelContrast(config, C), student.clone().requires_grad_()
        for step in range(3):
            draws = torch.Generator().manual_seed(step)
            contrast.enqueue_source(teacher[mine], labels[mine], draws)
            contrast.enqueue_target(teacher[mine], logits[mine], pseudo.labels, pseudo.usable, pseudo.usable, draws)
        loss, anchors = contrast.loss(anchor_features, pseudo.labels, pseudo.usable, draws)
        loss.backward()
        memory = {f"{family} memory {name}": value[None] for name, value in contrast.state_dict().items()}
        contrasted |= {
            f"{family} loss": loss.detach()[None] / world,
            f"{family} loss gradient": anchor_features.grad / world,
            f"{family} anchors": anchors[None],
            **memory,
        }

    return {
        "weight": pseudo.weight,
        "chosen": chosen,
        "distance": distance.detach()[None] / world,
        "distance gradient": deep.grad / world,
        "reliable": reliable(logits[mine], 0.3, per="batch"),
        **contrasted,
    }


def refusals():
    """What processes are told that read other data than one another, or were not told the same; "" for nothing."""
    config, device, rank = pgpc.preset("streets"), torch.device("cpu"), distributed.rank()
    state = SimpleNamespace(config=config, classes=CITYSCAPES, device=device)
    by_itself = pgpc.override(config, {"seed": rank})
    checks = {
        "same data": lambda: _check_alike(state, {"source": "0"}),
        "other data": lambda: _check_alike(state, {"source": str(rank)}),
        "same run": lambda: check_same_run(config, "runs/a", device),
        "other config": lambda: check_same_run(by_itself, "runs/a", device),
        "other folder": lambda: check_same_run(config, f"runs/{rank}", device),
    }
    found = dict.fromkeys(checks, "")
    for name, run in checks.items():
        try:
            run()
        except ValueError as error:
            found[name] = str(error)
    return found


def shards(config):
    return [open_shards(where, config.data, "train") for where in (config.data.source, config.data.target)]


def start(config):
    """A base, its new state, and this process's batches."""
    base = make_base(config)
    source, target = shards(config)
    labeled = target if config.data.target_labels else None
    rank, world_size = distributed.rank(), distributed.world_size()
    state = base.new_state(torch.device("cpu"))
    if config.model.encoder == "test_convnext":  # else nothing but the projection head has batch norm
        for network in (state.student, state.teacher):
            still(network.projection.bn)
    return base, state, base.batches(source, target, labeled, rank=rank, world_size=world_size)


def still(norm):
    """Let a batch norm be none, which would see a part of a step otherwise than the whole."""
    norm.eval()
    norm.train = lambda mode=True: norm


def whole_steps(config, num):
    """All that comes out of some whole training steps in double precision."""
    with double_precision():
        base, state, batches = start(config)
        show_in_double(state)
        logs = []
        for batch in itertools.islice(batches, num):
            base.prepare(state, *shards(config))
            labeled = batch.labeled_images
            batch = in_double(batch)._replace(labeled_images=None if labeled is None else labeled.double())
            logs.append(base.step(state, batch))
    return {
        "logs": logs,
        "gradients": {name: p.grad for name, p in state.student.named_parameters()},
        "memory": state.contrast.state_dict(),
        "statistics": {f"student {name}": b for name, b in state.student.named_buffers()}
        | {f"teacher {name}": b for name, b in state.teacher.named_buffers()},
    }


def many_steps(config, num):
    """The state after some training steps, and how often gradients were averaged."""
    base, state, batches = start(config)
    averaged = []

    def count(_, bucket):
        averaged.append(bucket.index())
        work = torch.distributed.all_reduce(bucket.buffer(), async_op=True).get_future()
        return work.then(lambda future: future.value()[0] / distributed.world_size())

    state.replica.register_comm_hook(None, count)
    for batch in itertools.islice(batches, num):
        base.step(state, batch)
    return {"averaged": averaged.count(0), **networks(state)}


def uneven_steps(config):
    """Steps in which the processes hold different classes, or none."""
    base, state, batches = start(config)
    first = distributed.rank() == 0
    for labels, valid in (((255, None), (None, None)), ((0, 255), (False, None)), ((255, 255), (False, False))):
        batch, mine = next(batches), 0 if first else 1
        if labels[mine] is not None:
            batch = batch._replace(source_labels=torch.full_like(batch.source_labels, labels[mine]))
        if valid[mine] is not None:
            batch = batch._replace(target_valid=torch.full_like(batch.target_valid, valid[mine]))
        log = base.step(state, batch)
        assert all(value.isfinite().all() for value in log.values())
    return networks(state)


def networks(state):
    return {
        "contrast": state.contrast.state_dict(),
        "student": dict(state.student.named_parameters()),
        "teacher": dict(state.teacher.named_parameters()),
    }


def interrupted(config, out):
    """A run with a checkpoint in the middle, ``out/whole``; and its second half from there on, ``out/resumed``."""
    pgpc.train(config, out=out / "whole")
    if distributed.rank() == 0:
        (out / "resumed").mkdir()
        shutil.copy(out / "whole" / "previous.pt", out / "resumed" / "checkpoint.pt")
    torch.distributed.barrier()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(17 + distributed.rank())
    pgpc.train(config, out=out / "resumed", begin=Resume(out / "resumed"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, out = sys.argv[1], Path(sys.argv[2])
    with distributed.process_group(torch.device("cpu")):
        if task == "pieces":
            result = {**pieces(), "refusals": refusals()}
        else:
            configs = {name: from_dict(config) for name, config in json.loads(sys.argv[3]).items()}
            result = {
                **{name: whole_steps(configs[name], 3) for name in ("daformer", "merged", "parts", "hrda", "proca")},
                "many": many_steps(configs["many"], 20),
                "uneven": uneven_steps(configs["many"]),
            }
            interrupted(configs["interrupted"], out)
        torch.save(result, out / f"{distributed.rank()}.pt")
