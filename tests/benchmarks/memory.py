"""Peak memory of a training step with contrast: measured on a GPU where there is one, else computed.

    python -m tests.benchmarks.memory [gta5-cityscapes/daformer+pgpc ...] [--set training.precision=bfloat16]

Computed means: two steps run on tensors without data (FakeTensorMode), and the bytes of all storages that are alive are
added up. That counts parameters, gradients, optimizer, teacher, initial encoder, memory bank, activations and the
temporaries of every operator. It leaves out what only a GPU has: the CUDA context (about 0.5 GiB), workspaces of
convolutions, fragmentation. Each row stands beside its base in the same process; the ratio is what the contrast costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import pgpc
from pgpc.bases import make_base
from pgpc.config import Config, parse_settings
from pgpc.contrast.loss import ALL_PRODUCTS
from pgpc.data.batch import Batch
from pgpc.optimization.optimizer import make_optimizer
from tests.benchmarks.timing import with_encoder_weights

PRESETS = ["gta5-cityscapes/daformer+pgpc", "gta5-cityscapes/mic-daformer+pgpc", "gta5-cityscapes/hrda+pgpc"]
LIMITS = {"daformer": 11, "mic-daformer": 11, "hrda": 24, "mic-hrda": 24}
"""GiB of the cards that a base with PGPC should fit on."""
STEPS = 2  # the optimizer's moments are there from the second on


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of all storages that operators return, as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def count(self, *tensors: torch.Tensor) -> None:
        """Take in tensors that are there already, or new ones."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen.add(storage)
                self._live += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self._live)

    def _free(self, num: int) -> None:
        self._live -= num

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.count(*(leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)))
        return out


def peak_bytes(config: Config) -> int:
    """Return the peak memory of some training steps in bytes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = make_base(config)
    state = base.new_state(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        for _ in range(STEPS):
            base.step(state, batch_of(config).to(device))
        return torch.cuda.max_memory_allocated()
    ALL_PRODUCTS["cpu"] = ALL_PRODUCTS["cuda"]  # what is computed is a GPU's memory
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, LiveBytes() as live:
        for module in (state.student, state.teacher, state.contrast, state.base, state.initial_encoder):
            if module is None:
                continue
            module._apply(fake.from_tensor)
            live.count(*module.parameters(), *module.buffers())
        state.optimizer = make_optimizer(state.student, config.optimizer, state.base)
        for _ in range(STEPS):
            base.step(state, batch_of(config))
    return live.peak


def batch_of(config: Config) -> Batch:
    """Return images of the config's size; nothing is in them, since memory does not depend on it."""
    num, side = config.training.batch_size, config.data.crop
    assert side is not None, "the peak is that of a step on crops"
    images = torch.zeros(num, 3, side, side)
    labels = torch.zeros(num, side, side, dtype=torch.long)
    return Batch(images, labels, images.clone(), labels == 0)


def _resolve(name: str, settings: dict[str, str], encoder: Path) -> Config:
    """Return the preset with contrast from the first step on, and weights that the feature distance can refer to."""
    config = pgpc.override(pgpc.preset(name), {"contrast.start": 0, "contrast.fill": 0, **settings})
    return with_encoder_weights(config, encoder)


def main() -> None:
    """Print a row for each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=PRESETS, help="with +pgpc (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = parse_settings(arguments.settings)
    if arguments.one:
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # or parameters could not become fake
        with tempfile.TemporaryDirectory() as folder:
            print(peak_bytes(_resolve(arguments.one, settings, Path(folder) / "encoder.pt")))
        return

    how = f"measured on {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "computed"
    print(f"| preset {json.dumps(settings) if settings else ''} | peak GiB, {how} | base | ratio | card |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.presets:
        ours, base = (in_its_own_process(n, arguments.settings) / 2**30 for n in (name, name.removesuffix("+pgpc")))
        limit = LIMITS.get(name.split("/")[1].removesuffix("+pgpc"))
        card = f"{'fits' if ours < limit else 'does not fit'} {limit}" if limit else ""
        print(f"| {name} | {ours:.2f} | {base:.2f} | {ours / base:.2f} | {card} |", flush=True)


def in_its_own_process(name: str, settings: list[str]) -> int:
    """Return the peak memory of some training steps in bytes, of a preset with settings like "model.encoder=mit_b0"."""
    changes = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--one", name, *changes]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
