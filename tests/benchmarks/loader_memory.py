"""Memory of the loader's processes: what every worker has for itself, beside one that reads the table.

    python -m tests.benchmarks.loader_memory [--workers 1,2] [--pictures 34]

Packs pictures of noise (GTA5's size, 6 MB each, 34 of them 206 MB) into a temporary folder. Then loads batches with
some numbers of workers, and prints the memory of the workers as the kernel counts it (/proc/PID/smaps_rollup). "Own" is
private and dirty: what one more worker takes. "Mapped" is clean, pages of files that no other process happens to map
right now; the kernel drops them when memory is short. Ours maps the shards. The plain way reads them in each worker,
which is what a table or a list of files that is made after the fork comes to.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

import pgpc
from pgpc.config import Config
from pgpc.data.batch import Batch
from pgpc.data.loader import TrainingData, in_order
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from tests.helpers.training import training_data

BATCHES_PER_WORKER = 8


class ReadByEachWorker(Dataset):
    """The same batches from a process that keeps the shards' bytes."""

    def __init__(self, data: TrainingData, folder: Path) -> None:
        self._data, self._folder = data, folder
        self._table: list[bytes] | None = None

    def __getitem__(self, step: int) -> Batch:
        if self._table is None:
            self._table = [path.read_bytes() for path in sorted(self._folder.glob("*.arrow"))]
        return self._data[step]


def write_shards(root: Path, num: int) -> Shards:
    """Pack pictures of noise, and labels of two classes."""
    rng = np.random.default_rng(0)
    label = np.full((1052, 1914), 7, dtype=np.uint8)
    label[:, ::2] = 11
    for name in ("images", "labels"):
        (root / "raw" / name).mkdir(parents=True)
    for i in range(num):
        pixels = rng.integers(0, 256, (1052, 1914, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"raw/images/{i:05d}.png", compress_level=0)
        Image.fromarray(label).save(root / f"raw/labels/{i:05d}.png")
    pack("gta5", root / "raw", root / "shards")
    return Shards.open(root / "shards", "train")


def memory(pid: int | str) -> list[float]:
    """Return own, mapped and proportional MB of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return [kib[name] * 1024 / 1e6 for name in ("Private_Dirty", "Private_Clean", "Pss")]


def measure(data: Dataset, workers: int) -> np.ndarray:
    """Return own, mapped and proportional MB of the workers, when they have read much of the table: (workers, 3)."""
    # More batches than are taken, so that the workers are still there.
    batches = in_order(data, range((BATCHES_PER_WORKER + 10) * workers), workers)
    for _ in range(BATCHES_PER_WORKER * workers):
        next(batches)
    return np.array([memory(child.pid) for child in multiprocessing.active_children()])


def config_of(workers: int) -> Config:
    """Return a preset that draws uniformly, with small batches."""
    settings = {"training.batch_size": 2, "data.loader_workers": workers, "data.rare_class_sampling": False}
    return pgpc.override(pgpc.preset("gta5-cityscapes/source-only"), settings)


def main() -> None:
    """Pack, and print a line per way and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2", help="numbers of workers (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=34, help="pictures in the shards (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder), arguments.pictures)
        packed = Path(shards.folder)
        size = sum(path.stat().st_size for path in packed.glob("*.arrow")) / 1e6
        print(f"shards of {size:.0f} MB", flush=True)
        for workers in map(int, arguments.workers.split(",")):
            data = training_data(config_of(workers), shards, None, rank=0, world_size=1)
            for name, way in (("ours", data), ("plain", ReadByEachWorker(data, packed))):
                measured = measure(way, workers)
                own, mapped, _ = np.median(measured, axis=0)
                print(
                    f"{workers} workers, {name}: each {own:.0f} MB own and {mapped:.0f} MB mapped; proportional, "
                    f"together {measured[:, 2].sum():.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
