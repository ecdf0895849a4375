"""Weights and inputs that anyone can redraw, and what the public implementation computed from them."""

from __future__ import annotations

import json
import logging
import os
import sys
import urllib.request
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import pgpc

FOLDER = Path(__file__).parent / "golden"
STEPS = {"stage1": 4, "stage2": 2, "stage3": 2, "stage4": 1, "logits": 3}


STARTS_PROCESSES = {"start", "launched", "connected", "own_cluster"}
"""Fixtures that start a sweep or a Ray cluster of its own, or a training under torchrun."""
CLUSTERS = (
    "tests/cluster/",
    "tests/sweeps/execution/",
    "tests/sweeps/progress/",
    "tests/sweeps/streams/",
    "tests/sweeps/test_",
    "tests/sweeps/definition/test_paper_tables.py",
    "tests/sweeps/search/test_seeds.py",
    "tests/sweeps/search/verdicts/test_failures.py",
)
"""Where tests start clusters or sweeps of their own: one process runs them all, since several at once only slow each
other, and so that a sweep that several files look at is run once."""


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores between the processes of pytest-xdist, and between them and what Ray starts."""
    # By default Ray's workers give way to every other process of the machine: here to the tests beside them, for which
    # nobody waits as long as for the sweeps.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, leave out what takes minutes unless it is asked for, and put files with slow tests first."""
    for item in items:
        is_long = item.get_closest_marker("long") is not None
        if is_long or STARTS_PROCESSES & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
        if "start" in getattr(item, "fixturenames", ()) and not _starts_clusters(str(item.path)):
            raise pytest.UsageError(f"{item.path} starts sweeps, so that CLUSTERS in tests/conftest.py must name it.")
        if is_long and "PGPC_TEST_LONG" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="takes long; runs with PGPC_TEST_LONG=1"))
    # Else one process would still be busy with them when the others have nothing left.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _starts_clusters(file: str) -> bool:
    return any(part in file for part in CLUSTERS)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a file to one process, so that what they share is made once; see `CLUSTERS`, too."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return CLUSTERS[0] if _starts_clusters(file) else file

    return ByFile(config, log)


def _generator(name: str) -> np.random.RandomState:
    # numpy's legacy generator is frozen, so the numbers are the same on every machine and version.
    return np.random.RandomState(zlib.crc32(name.encode()))


def _normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return _generator(name).standard_normal(shape).astype(np.float32)


def _weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    *_, owner, kind = name.split(".")
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    values = _normal(name, shape)
    if kind == "running_var":
        values = 0.5 + np.abs(values)
    elif kind == "running_mean":
        values = 0.1 * values
    elif len(shape) > 1:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif kind == "weight" and ("norm" in owner or owner == "bn"):
        values = 1.0 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values)


@dataclass(frozen=True)
class Golden:
    """Reference figures, and the formulas of the weights and inputs that they belong to."""

    shapes: dict[str, list[int]]
    arrays: dict[str, np.ndarray]
    pieces: dict
    hrda: Golden | None = None
    """Those of HRDA, without pieces."""

    def checkpoint(self) -> dict[str, torch.Tensor]:
        return {name: _weight(name, tuple(shape)) for name, shape in self.shapes.items()}

    @property
    def train_step(self) -> dict:
        return self.pieces["train_step"]

    @staticmethod
    def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(_normal(name, shape))

    @staticmethod
    def images(name: str, shape: tuple[int, int, int, int]) -> torch.Tensor:
        b, c, h, w = shape
        coarse = torch.from_numpy(_normal(name, (b, c, h // 8, w // 8)))
        smooth = F.interpolate(coarse, size=(h, w), mode="bilinear", align_corners=False)
        return smooth + 0.25 * torch.from_numpy(_normal(f"{name}/fine", shape))

    @staticmethod
    def labels(name: str, shape: tuple[int, int, int]) -> torch.Tensor:
        b, h, w = shape
        generator = _generator(name)
        blocks = generator.randint(0, 19, (b, h // 16, w // 16))
        blocks[generator.rand(*blocks.shape) < 0.1] = 255
        return torch.from_numpy(np.kron(blocks, np.ones((1, 16, 16), dtype=np.int64)))

    @staticmethod
    def thin(name: str, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().float().numpy()[..., :: STEPS[name], :: STEPS[name]]


def _load(network: str, pieces: dict, hrda: Golden | None = None) -> Golden:
    shapes = json.loads((FOLDER / f"{network}.shapes.json").read_text())
    with np.load(FOLDER / f"{network}.npz") as arrays:
        return Golden(shapes=shapes, arrays=dict(arrays), pieces=pieces, hrda=hrda)


@pytest.fixture(scope="session")
def golden() -> Golden:
    pieces = json.loads((FOLDER / "pieces.json").read_text())
    return _load("daformer_b0", pieces, hrda=_load("hrda_b0", {}))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The embedded pair is made below a temporary folder, once for all processes; never in the cache of the user."""
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPC_CACHE", str((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"))
        yield


@pytest.fixture(scope="session")
def _s3_server():
    """A server that speaks S3's protocol and keeps the objects in memory."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
    yield endpoint
    server.stop()


@pytest.fixture
def s3(_s3_server, monkeypatch):
    """An address on S3 below which nothing is yet; credentials and endpoint are in the environment."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_server)
    return f"s3://bucket/{uuid.uuid4().hex}"


class _NoReadBack(TorchFunctionMode):
    """Refuses the methods that read a tensor's memory directly and so are no operation on the CPU."""

    METHODS = (torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.METHODS:
            _refuse(f"Tensor.{func.__name__}")
        return func(*args, **(kwargs or {}))


class _NoHostSync(TorchDispatchMode):
    """Refuses operations that would make the host wait for a GPU; tensors may be on the CPU, where none does."""

    INDEXING = tuple(
        getattr(torch.ops.aten, name)
        for name in ("index", "_unsafe_index", "index_put", "index_put_", "_unsafe_index_put", "_index_put_impl_")
    )

    def __enter__(self):
        self._no_read_back = _NoReadBack()
        self._no_read_back.__enter__()
        return super().__enter__()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self._no_read_back.__exit__(*exception)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.overloadpacket in self.INDEXING:  # indexing waits for the number of True in a mask only
            refused = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        elif func is torch.ops.aten.repeat_interleave.Tensor:
            refused = kwargs.get("output_size") is None
        elif func is torch.ops.aten._to_copy.default:
            refused = args[0].device.type != "cpu" and kwargs.get("device") == torch.device("cpu")
        else:  # the operation's result, or its shape, is a value that the host must know
            refused = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        if refused:
            _refuse(str(func))
        return func(*args, **kwargs)


def _refuse(what: str) -> None:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(str(Path(torch.optim.__file__).parent)):
            return  # torch's optimizers keep their step counts on the CPU wherever the parameters are
        frame = frame.f_back
    raise AssertionError(f"{what} makes the host wait for the device.")


@pytest.fixture
def no_host_sync():
    """``with no_host_sync():`` raises AssertionError where the code within would make the host wait for a GPU."""
    return _NoHostSync


TINY = {
    "data.streets.num_source": 8,
    "data.streets.num_target": 6,
    "data.streets.num_val": 4,
    "data.streets.height": 64,
    "data.streets.width": 128,
    "data.source_size": (128, 64),
    "data.target_size": (128, 64),
    "data.crop": 64,
    "data.rare_class_min_pixels": 20,
    "adaptation.ignore_bottom": 4,
    "optimizer.warmup": 10,
    "model.head_channels": 8,
    "model.pretrained": None,
    "contrast.start": 1,
    "contrast.fill": 1,
    "contrast.dim": 8,
    "contrast.hidden": 8,
    "contrast.anchors": 16,
    "contrast.negatives": 32,
    "contrast.bank_size": 64,
    "contrast.quota": 16,
    "contrast.pool": 64,
    "training.iterations": 4,
    "training.batch_size": 2,
    "training.eval_interval": 2,
    "training.log_interval": 1,
}


@pytest.fixture(scope="session")
def tiny():
    """Make a tiny config: ``tiny()``, or ``tiny("streets/daformer", {"seed": 1})``."""

    def make(name="streets", changes=None):
        return pgpc.override(pgpc.preset(name), {**TINY, **(changes or {})})

    return make
