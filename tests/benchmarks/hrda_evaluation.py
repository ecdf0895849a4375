"""Segmenting an image with HRDA: all crops in batches, beside one crop after the other, in turns in one run.

    python -m tests.benchmarks.hrda_evaluation [--encoder mit_b0] [--detail 128] [--repetitions 4]

The proportions are those of Cityscapes (2048 x 1024, windows of 1024 every 512 pixels, detail crops of 512 every 256),
scaled by `--detail` / 512: 3 windows, 27 detail crops. The two results must be equal but for rounding.

Expected: 2 on a GPU, which one crop does not fill (not measured); on a CPU 30 / 24 = 1.25, since 6 crops and no more
are computed once instead of twice. Measured on 2 shared CPU cores, 2026-11-23, OMP_NUM_THREADS=1, MiT-B0, crops of 128:
1.06; and 0.76 before `keep_freed_memory`, when the system zeroed every large batch anew.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn

import pgpc
from pgpc.evaluation.segmentation import logits
from tests.benchmarks.timing import DEVICE, in_turns, make_config, prepare, ratio


class OneByOne(nn.Module):
    """An encoder that takes the images of a batch one after the other."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.encoder(image[None]) for image in images]
        return [torch.cat(level) for level in zip(*maps, strict=True)]


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mit_b0", help="(default: %(default)s)")
    parser.add_argument("--detail", type=int, default=128, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=4, help="turns (default: %(default)s)")
    arguments = parser.parse_args()
    prepare()
    side = arguments.detail
    config = make_config("gta5-cityscapes/hrda", arguments.encoder, 2 * side, {"model.detail_crop": side})
    torch.manual_seed(0)
    batched = pgpc.build_model(config.model).to(DEVICE).eval()
    one_by_one = pgpc.build_model(config.model).to(DEVICE).eval()
    one_by_one.load_state_dict(batched.state_dict())
    one_by_one.encoder, one_by_one.decode_head.head = OneByOne(one_by_one.encoder), _Heads(one_by_one.decode_head.head)
    image = torch.randn(1, 3, 2 * side, 4 * side, device=DEVICE)

    def segment(network: nn.Module, windows: int) -> Tensor:
        changes = {"evaluation.window": 2 * side, "evaluation.window_stride": side, "evaluation.window_batch": windows}
        return logits(network, image, evaluation=pgpc.override(config, changes).evaluation)

    torch.testing.assert_close(segment(batched, 3), segment(one_by_one, 1), rtol=1e-3, atol=1e-4)
    times = in_turns(
        {"batched": lambda: segment(batched, 3), "one by one": lambda: segment(one_by_one, 1)}, arguments.repetitions
    )
    print(
        f"one by one {np.median(times['one by one']):.3f} s, batched {np.median(times['batched']):.3f} s: "
        f"ratio {ratio(times, 'one by one', 'batched'):.2f}"
    )


class _Heads(nn.Module):
    """A decoder that takes the images of a batch one after the other."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: list[Tensor]) -> Tensor:
        return torch.cat([self.head(one) for one in zip(*(level.split(1) for level in features))])


if __name__ == "__main__":
    main()
