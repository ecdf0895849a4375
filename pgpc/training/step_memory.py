"""Whether the passes of a step are merged, by the memory that a step takes, which is computed and not tried.

Computed means: a step runs on tensors without data (FakeTensorMode), and the bytes of all storages that are alive are
added up: parameters, gradients, optimizer, teacher, initial encoder, memory bank, activations and the temporaries of
every operator. What only a GPU has is left out: the CUDA context, workspaces of convolutions, fragmentation.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pgpc.adaptation.teacher import make_teacher
from pgpc.bases import Base, TrainingState, make_base
from pgpc.config import Config, from_dict, override, to_dict
from pgpc.contrast.loss import ALL_PRODUCTS
from pgpc.data.batch import Batch
from pgpc.models.student import has_batch_norm
from pgpc.optimization.optimizer import make_optimizer
from pgpc.runtime import distributed

log = logging.getLogger(__name__)

_GIB = 2**30
_ROOM = 1.15
"""What is computed times this, for fragmentation, and.."""
_CONTEXT = 1.0 * _GIB
""".. so much for the CUDA context and the workspaces of convolutions must be free."""
STEPS = 2
"""Steps that are computed: the optimizer's moments are there from the second on."""


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of all storages that operators return, as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count(*(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)))
        return out

    def count(self, *tensors: Tensor) -> None:
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


def merges_passes(state: TrainingState, base: Base) -> bool:
    """Return whether the passes of a run's steps are to be merged, equal on all processes.

    Args:
        state: The state; it is not changed.
        base: How its steps go.
    """
    config = state.config
    if config.training.merge_passes != "auto":
        return config.training.merge_passes
    if state.device.type != "cuda" or not (base.merges and config.adaptation.enabled):
        return False
    if has_batch_norm(state.student.segmenter.encoder):
        return False
    needed = 0
    if distributed.rank() == 0:
        share = config.training.batch_size // distributed.world_size()
        merged = override(config, {"training.batch_size": share, "training.merge_passes": True})
        needed = in_its_own_process(merged) or 0
    needed = int(distributed.all_gather(torch.tensor(needed, device=state.device))[0])
    free = torch.cuda.mem_get_info(state.device)[0] + torch.cuda.memory_reserved(state.device)
    fits = needed > 0 and has_room(needed, free)
    everywhere = bool(distributed.all_gather(torch.tensor(fits, device=state.device)).all())
    if distributed.rank() == 0 and needed:
        log.info(
            "The passes of a step are %s: merged they take %.1f GiB, computed, and %.1f GiB are free "
            "(training.merge_passes=auto).",
            "merged" if everywhere else "not merged",
            needed / _GIB,
            free / _GIB,
        )
    return everywhere


def has_room(needed: int, free: int) -> bool:
    """Return whether a step fits into a GPU.

    Args:
        needed: Peak that was computed, in bytes.
        free: Memory of the GPU that nobody else has, in bytes.
    """
    return needed * _ROOM + _CONTEXT <= free


def in_its_own_process(config: Config) -> int | None:
    """Return :func:`computed_bytes`; None, with a warning, where it cannot be computed.

    In a process of its own, since tensors without data must not be kept by anything that remembers tensors, and other
    processes of a training know nothing of this.

    Args:
        config: The config; ``training.batch_size`` is that of one process.
    """
    alone = {name: text for name, text in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [sys.executable, "-c", "from pgpc.training.step_memory import main; main()"],
        input=json.dumps(to_dict(config)),
        env={**alone, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        log.warning("The memory of a step cannot be computed (%s): its passes are not merged.", reason.rstrip("."))
        return None
    return int(done.stdout.split()[-1])


def computed_bytes(config: Config) -> int:
    """Return the peak memory of training steps with all that a run ever has, in bytes; no GPU is needed.

    What this process remembers may be tensors without data afterwards: it should do nothing else.

    Args:
        config: The config. Weights are not loaded, and the contrast is there from the first step on.
    """
    # Here and not above: it is slow to import, and a run that computes nothing of this needs it not.
    from torch._subclasses.fake_tensor import FakeTensorMode

    ALL_PRODUCTS["cpu"] = ALL_PRODUCTS["cuda"]  # what is computed is a GPU's memory
    compares = config.adaptation.keeps_things
    changes: dict[str, Any] = {"model.pretrained": None, "adaptation.feature_distance_weight": 0.0}
    if config.contrast.enabled:
        changes |= {"contrast.start": 0, "contrast.fill": 0}
    base = make_base(override(config, changes))
    state = base.new_state(torch.device("cpu"))
    if compares:
        initial = make_teacher(state.student.segmenter.encoder).eval()
        state.initial_encoder = state.student.fixed_in_precision(initial)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # or parameters could not become fake
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, LiveBytes() as live:
        for module in (state.student, state.teacher, state.contrast, state.base, state.initial_encoder):
            if module is not None:
                module._apply(fake.from_tensor)
                live.count(*module.parameters(), *module.buffers())
        state.optimizer = make_optimizer(state.student, config.optimizer, state.base)
        for _ in range(STEPS):
            base.step(state, _batch(config))
    peak: int = live.peak
    return peak


def _batch(config: Config) -> Batch:
    """Return images of the config's size; nothing is in them, since memory does not depend on it."""
    data, num = config.data, config.training.batch_size
    width, height = (data.crop, data.crop) if data.crop is not None else data.target_size
    images = torch.zeros(num, data.bands, height, width)
    labels = torch.zeros(num, height, width, dtype=torch.long)
    batch = Batch(images, labels, images.clone(), labels == 0)
    return batch if data.target_labels is None else batch._replace(labeled_images=images.clone(), labeled_labels=labels)


def main() -> None:
    """Print :func:`computed_bytes` of the config that comes in as JSON."""
    print(computed_bytes(from_dict(json.load(sys.stdin))))
