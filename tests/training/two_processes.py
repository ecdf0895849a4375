"""What tests start under torchrun: ``torchrun --nproc-per-node 2 two_processes.py pieces|steps OUT [CONFIG]``.

Also imported by the tests, for the same computation in one process.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from pgpc import distributed
from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.mixing import choose_classes
from pgpc.adaptation.pseudo_labels import pseudo_labels
from pgpc.config import ContrastConfig, from_dict
from pgpc.contrast import PixelContrast
from pgpc.data.domains import open_shards
from pgpc.data.loader import training_batches
from pgpc.training.state import TrainingState
from pgpc.training.step import train_step

B, C, D, H = 4, 7, 8, 16


def pieces():
    """Everything that a step takes over all processes, on this process's share of one fixed global batch."""
    g = torch.Generator().manual_seed(0)
    share = B // distributed.world_size()
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    labels = torch.randint(0, C - 1, (B, H, H), generator=g)
    labels[0] = 255  # an image without labels, and a class (C - 1) without pixels
    labels[1, :, 8:] = 4
    logits = 4 * torch.randn(B, C, H, H, generator=g)
    teacher, student = (F.normalize(torch.randn(B, D, H, H, generator=g), dim=1) for _ in range(2))
    deep, initial = (torch.randn(B, 5, 2, 2, generator=g) for _ in range(2))

    pseudo = pseudo_labels(
        logits[mine], torch.ones(share, H, H, dtype=torch.bool), confidence=0.9, ignore_top=0, ignore_bottom=0
    )
    chosen = choose_classes(labels[mine], C, [np.random.default_rng(i) for i in range(mine.start, mine.stop)])

    deep = deep[mine].requires_grad_()
    distance = feature_distance(deep, initial[mine], labels[mine], things=range(C), share=0.75, num_classes=C)
    distance.backward()

    contrast = PixelContrast(
        ContrastConfig(
            r=2, anchors=32, negatives=16, bank_size=40, quota=24, pool=64, dim=D, positive="target_prototype"
        ),
        C,
    )
    student = student[mine].requires_grad_()
    for step in range(3):
        draws = torch.Generator().manual_seed(step)
        contrast.remember_source(teacher[mine], labels[mine], draws)
        contrast.remember_target(teacher[mine], logits[mine], pseudo.labels, pseudo.usable, pseudo.usable, draws)
    loss, anchors = contrast.loss(student, pseudo.labels, pseudo.usable, draws)
    loss.backward()

    world = distributed.world_size()  # gradients are averaged over processes
    return {
        "weight": pseudo.weight,
        "chosen": chosen,
        "distance": distance.detach()[None] / world,
        "distance gradient": deep.grad / world,
        "loss": loss.detach()[None] / world,
        "loss gradient": student.grad / world,
        "anchors": anchors[None],
        **{f"memory {name}": value[None] for name, value in contrast.state_dict().items()},
    }


def steps(config, num):
    """The state after some training steps, and how often gradients were averaged."""
    state = TrainingState(config, torch.device("cpu"))
    averaged = []

    def count(_, bucket):
        averaged.append(bucket.index())
        work = torch.distributed.all_reduce(bucket.buffer(), async_op=True).get_future()
        return work.then(lambda future: future.value()[0] / distributed.world_size())

    state.replica.register_comm_hook(None, count)
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = training_batches(
        config, source, target, rank=distributed.rank(), world_size=distributed.world_size(), start_step=0
    )
    for batch in itertools.islice(batches, num):
        train_step(state, batch)
    return {
        "averaged": averaged.count(0),
        "contrast": state.contrast.state_dict(),
        "student": dict(state.student.named_parameters()),
        "teacher": dict(state.teacher.named_parameters()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, out = sys.argv[1], Path(sys.argv[2])
    with distributed.process_group(torch.device("cpu")):
        result = pieces() if task == "pieces" else steps(from_dict(json.loads(sys.argv[3])), 4)
        torch.save(result, out / f"{distributed.rank()}.pt")
