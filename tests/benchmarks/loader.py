"""Images per second of the loader, and of the plain way of reading the same files, one after the other in one run.

    python -m tests.benchmarks.loader [--workers 2] [--repetitions 2] [--batches 10] [--preset gta5-cityscapes/daformer]

Writes photo-like pictures of the true sizes (GTA5 1914 x 1052, Cityscapes 2048 x 1024, about 2.3 MB each as PNG) into a
temporary folder, in the layouts of the two sets, and packs them, which stores them as tiles. Both ways then prepare
batches of two source and two target images with the same processes, box and crop. The plain way is a folder, PIL, and a
DataLoader: open, resize the whole image, map the label's ids, cut a crop that no class covers, mirror, normalize in
float. With rare class sampling it runs all of that again for a crop that lacks the class, as published (DAFormer).

Also prints where the time of one of our samples goes, in this process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler

import pgpc
from pgpc.classes import CITYSCAPES_TRAIN_IDS, IGNORE_INDEX
from pgpc.config import Config
from pgpc.data import transforms
from pgpc.data.normalization import MEAN, STD
from pgpc.data.rare_class import rare_classes
from pgpc.data.samples import read_image, read_label
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from tests.helpers.training import training_batches

NUM_IMAGES = 4
"""Pictures per set; few are enough, since nothing is kept between samples."""
RAW_IDS = (7, 7, 7, 11, 11, 21, 21, 23, 8, 26, 12, 13, 17, 19, 20, 22, 24, 25, 33)
"""Of a label's regions; some are larger than others."""


def noise(rng: np.random.Generator, width: int, height: int, channels: int, octaves: int) -> np.ndarray:
    """Return ``(height, width, channels)`` float32: octaves of smooth noise, each weaker than the last."""
    total = np.zeros((height, width, channels), dtype=np.float32)
    for octave in range(octaves):
        coarse = rng.normal(size=(channels, 4 << octave, 8 << octave)).astype(np.float32)
        for channel, plane in enumerate(coarse):
            total[..., channel] += 0.58**octave * np.array(Image.fromarray(plane).resize((width, height)))
    return total


def write_pair(image: Path, label: Path, width: int, height: int, seed: int) -> None:
    """Write a picture that compresses as a photo does, and a palette label of regions."""
    rng = np.random.default_rng(seed)
    pixels = 120 + 40 * noise(rng, width, height, 1, 8) + 15 * noise(rng, width, height, 3, 6)
    pixels += rng.normal(scale=4, size=(height, width, 1)) * noise(rng, width, height, 1, 4).clip(0)  # a sensor's
    regions = np.array(RAW_IDS, dtype=np.uint8)[noise(rng, width, height, len(RAW_IDS), 4).argmax(axis=2)]
    picture = Image.fromarray(regions)
    picture.putpalette([value for gray in range(256) for value in (gray, gray, gray)])
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image)
    picture.save(label)


def write_data(root: Path) -> None:
    """Write both sets as files and as shards."""
    for i in range(NUM_IMAGES):
        write_pair(root / f"gta5/images/{i:05d}.png", root / f"gta5/labels/{i:05d}.png", 1914, 1052, i)
        name = f"train/bonn/bonn_{i:06d}_000019"
        write_pair(
            root / f"cityscapes/leftImg8bit/{name}_leftImg8bit.png",
            root / f"cityscapes/gtFine/{name}_gtFine_labelIds.png",
            2048,
            1024,
            100 + i,
        )
    for layout in ("gta5", "cityscapes"):
        pack(layout, root / layout, root / f"{layout}-shards", splits=["train"])


class PlainData(Dataset):
    """Two folders, read as most published code reads them."""

    def __init__(self, root: Path, config: Config, source: Shards) -> None:
        self.data = config.data
        self.images = sorted((root / "gta5/images").glob("*.png"))
        self.labels = sorted((root / "gta5/labels").glob("*.png"))
        self.target = sorted((root / "cityscapes/leftImg8bit").rglob("*.png"))
        self.rare = None
        if self.data.rare_class_sampling:
            self.rare = rare_classes(
                source.class_pixels,
                self.data.rare_class_temperature,
                self.data.rare_class_min_pixels,
                source.classes.names,
            )

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        rng, data = np.random.default_rng(index), self.data
        drawn, row = self.rare.draw(rng) if self.rare else (None, int(rng.integers(len(self.images))))
        for _ in range(11):
            image, label = self.source(row, rng)
            if drawn is None or (label == drawn).sum() > data.rare_class_min_pixels * data.rare_class_min_crop_ratio:
                break
        target = self.resized(self.target[int(rng.integers(len(self.target)))], data.target_size)
        top, left, side = transforms.draw_box(rng, target.height, target.width, data.crop)
        target = np.array(target)[top : top + side, left : left + side]
        valid = np.ones(target.shape[:2], dtype=bool)
        return self.normalized(image), torch.from_numpy(label).long(), self.normalized(target), torch.from_numpy(valid)

    def source(self, row: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image = self.resized(self.images[row], self.data.source_size)
        with Image.open(self.labels[row]) as file:
            ids = np.array(file.resize(image.size, Image.Resampling.NEAREST))
        label = CITYSCAPES_TRAIN_IDS[ids]
        for _ in range(11):
            top, left, side = transforms.draw_box(rng, *label.shape, self.data.crop)
            part = label[top : top + side, left : left + side]
            ids, counts = np.unique(part, return_counts=True)
            counts = counts[ids != IGNORE_INDEX]
            if len(counts) > 1 and counts.max() / counts.sum() < self.data.crop_max_share:
                break
        pixels = np.array(image)[top : top + side, left : left + side]
        return (pixels[:, ::-1], part[:, ::-1].copy()) if rng.random() < 0.5 else (pixels, part)

    @staticmethod
    def resized(path: Path, box: tuple[int, int]) -> Image.Image:
        with Image.open(path) as file:
            size = transforms.box_size(*file.size, box)
            return file.convert("RGB").resize(size, Image.Resampling.BILINEAR)

    @staticmethod
    def normalized(pixels: np.ndarray) -> torch.Tensor:
        values = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def plain_batches(data: PlainData, config: Config) -> Iterator:
    """Return the batches of the plain way."""
    size = config.training.batch_size
    sampler = RandomSampler(range(1 << 20), replacement=True, num_samples=config.training.iterations * size)
    return iter(DataLoader(data, batch_size=size, sampler=sampler, num_workers=config.data.loader_workers))


def rates(batches: Iterator, num_images: int) -> tuple[float, float]:
    """Return images per second of wall-clock time, and per second of processor time of the worker processes."""
    start, processor = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for _ in batches:
        pass
    wall = time.perf_counter() - start
    del batches  # waits for the workers
    return num_images / wall, num_images / (sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - processor)


def compare(root: Path, config: Config, repetitions: int) -> None:
    """Print the rates of both ways, in turns, and the median of their ratios."""
    source, target = (Shards.open(root / f"{name}-shards", "train") for name in ("gta5", "cityscapes"))
    plain_data = PlainData(root, config, source)
    num_images = 2 * config.training.batch_size * config.training.iterations
    ours, plain = [], []
    for _ in range(repetitions):
        ours.append(rates(training_batches(config, source, target), num_images))
        plain.append(rates(plain_batches(plain_data, config), num_images))
    drawing = "rare class sampling" if config.data.rare_class_sampling else "uniform drawing"
    for what, a, b in zip(("images/s", "images per second of processor time"), np.transpose(ours), np.transpose(plain)):
        print(
            f"{drawing}, {what}: ours {np.median(a):.1f} {a.round(1).tolist()}, plain {np.median(b):.1f} "
            f"{b.round(1).tolist()}, median ratio {np.median(a / b):.2f}",
            flush=True,
        )


def print_split(root: Path, config: Config, repetitions: int = 12) -> None:
    """Print the median milliseconds of processor time of the parts of a source sample and of a target sample."""
    data, rng = config.data, np.random.default_rng(0)
    for name, box_of in (("gta5", data.source_size), ("cityscapes", data.target_size)):
        shards = Shards.open(root / f"{name}-shards", "train")
        times: dict[str, list[float]] = {}

        def timed(part: str, function: Callable, *arguments, times=times, **options):
            start = time.process_time()  # what else the machine does should not count
            result = function(*arguments, **options)
            times.setdefault(part, []).append(1000 * (time.process_time() - start))
            return result

        for i in range(repetitions):
            native = shards.size(i % len(shards))
            size = transforms.box_size(*native, box_of, data.fit)
            if name == "gta5":
                label = timed("decode label", read_label, shards, i % len(shards))
                label = timed("resize label", transforms.resize_label, label, size)
                box = timed("search crop", transforms.draw_source_box, rng, label, data.crop, data.crop_max_share)
                timed("label tensor", transforms.label_tensor, transforms.cut(label, box), flip=i % 2 == 0)
            else:
                box = transforms.draw_box(rng, size[1], size[0], data.crop)
            region = transforms.needed_region(native, size, box, data.interpolation)
            image = timed("decode image", read_image, shards, i % len(shards), region)
            crop = timed("resize image", transforms.resize_crop, image, size, box, data.interpolation)
            timed("image tensor", transforms.image_tensor, crop, flip=i % 2 == 0)
        parts = ", ".join(f"{part} {np.median(values):.1f}" for part, values in times.items())
        total = sum(map(np.median, times.values()))
        print(f"{name}, ms of processor time of one sample: {parts}; together {total:.1f}", flush=True)


def main() -> None:
    """Write the data, and print the comparison and the split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes of both ways (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=2, help="turns of both ways (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=10, help="batches of a turn (default: %(default)s)")
    parser.add_argument("--preset", default="gta5-cityscapes/daformer", help="box and crop (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's process
    settings = {
        "training.batch_size": 2,
        "training.iterations": arguments.batches,
        "data.loader_workers": arguments.workers,
    }
    config = pgpc.override(pgpc.preset(arguments.preset), settings)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_data(root)
        size = np.mean([path.stat().st_size for path in (root / "gta5/images").iterdir()]) / 1e6
        print(f"GTA5's pictures have {size:.1f} MB on average; {arguments.workers} workers", flush=True)
        print_split(root, config)
        for rare in (False, True):
            compare(root, pgpc.override(config, {"data.rare_class_sampling": rare}), arguments.repetitions)


if __name__ == "__main__":
    main()
