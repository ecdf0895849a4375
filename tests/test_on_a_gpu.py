"""What must be equal on a GPU and a CPU, or on a GPU in two ways; ``python -m tests.benchmarks --gpu`` runs these."""

import pytest
import torch

from pgpc.bases import make_base
from pgpc.contrast import info_nce
from pgpc.data.batch import Batch
from pgpc.data.normalization import IMAGENET_PIXELS
from pgpc.data.on_device import on_device
from pgpc.models.student import ForwardRequest
from pgpc.runtime.device import arithmetic
from tests.helpers.training import training_batches

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STILL = {"model.dropout": 0.0, "model.drop_path": 0.0, "contrast.start": 0, "contrast.fill": 0}


def state_of(config):
    return make_base(config).new_state(torch.device("cuda"))


def test_gpu_bytes_arrive_as_the_same_numbers():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 2, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(256, (3, 2, 8, 8), generator=generator, dtype=torch.uint8)
    sent = [Batch(x.pin_memory(), y.pin_memory(), None, None) for x, y in zip(images, labels, strict=True)]
    here = list(on_device(iter(sent), torch.device("cpu"), IMAGENET_PIXELS))
    there = list(on_device(iter(sent), torch.device("cuda"), IMAGENET_PIXELS))
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b.source_images.cpu(), a.source_images, rtol=0, atol=1e-6)
        assert torch.equal(a.source_labels, b.source_labels.cpu())


def test_gpu_and_cpu_give_the_same_contrast():
    generator = torch.Generator().manual_seed(0)
    anchors, bank = (torch.randn(3, n, 16, generator=generator) for n in (8, 4096))
    anchors, bank = (torch.nn.functional.normalize(x, dim=2) for x in (anchors, bank))
    index = torch.randint(4096, (3, 8, 32), generator=generator)
    with arithmetic(torch.device("cuda"), exact=True):
        found = [info_nce(anchors.to(d), bank[:, 0].to(d), bank.to(d), index.to(d), 0.5) for d in ("cpu", "cuda")]
    assert found[0].item() == pytest.approx(found[1].item(), rel=1e-5)


def test_gpu_merged_passes_learn_the_same(tiny):
    losses = []
    for merge in (False, True):
        config = tiny("streets/daformer+pgpc", {**STILL, "training.merge_passes": merge})
        state, base = state_of(config), make_base(config)
        with arithmetic(state.device, exact=True):
            log = base.step(state, next(training_batches(config)).to(state.device))
        losses.append({name: value.item() for name, value in log.items() if name.startswith("loss/")})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_gpu_bfloat16_is_that_of_autocast_within_rounding(tiny):
    config = tiny("streets/daformer", {**STILL, "training.precision": "bfloat16"})
    state = state_of(config)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).cuda()
    with torch.no_grad():
        ours = state.student(ForwardRequest(images))[0].logits.float()
        with torch.autocast("cuda", torch.bfloat16):
            cast = state.student.segmenter(images).float()
    assert ((ours - cast).norm() / cast.norm()).item() < 0.05
