"""Loading: batches depend on seed, step and place; target labels stay unread; nothing is scored twice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pgpc.bases.proca.class_balance import ClassBalancedDraws
from pgpc.classes import CLASSES, IGNORE_INDEX
from pgpc.config import Config, override
from pgpc.data import image_files, label_files, transforms
from pgpc.data.batch import Batch
from pgpc.data.loader import evaluation_samples
from pgpc.data.normalization import MEAN, STD
from pgpc.data.samples import SampleError, read_image, read_label
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.generator import write_streets
from pgpc.data.tiles import Region, encode_tiles
from tests.helpers.training import training_batches, training_data

STREETS = StreetsConfig(num_source=6, num_target=5, num_val=5, height=64, width=128, seed=1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pair")
    write_streets(STREETS, root / "raw")
    pack("gta5", root / "raw/source", root / "source")
    pack("cityscapes", root / "raw/target", root / "target")
    return root


@pytest.fixture(scope="module")
def source(pair: Path) -> Shards:
    return Shards.open(pair / "source", "train")


@pytest.fixture(scope="module")
def target(pair: Path) -> Shards:
    return Shards.open(pair / "target", "train")


def _config(**changes: Any) -> Config:
    config = override(
        Config(),
        {
            "data.source_size": (128, 64),
            "data.target_size": (128, 64),
            "data.crop": 64,
            "data.loader_workers": 0,
            "data.rare_class_min_pixels": 40,
            "training.batch_size": 4,
            "training.iterations": 5,
            "adaptation.ignore_top": 0,
            "adaptation.ignore_bottom": 0,
            "contrast.enabled": False,
        },
    )
    return override(config, changes)


def _equal(a: Batch, b: Batch) -> bool:
    return all(x is y or torch.equal(x, y) for x, y in zip(a, b, strict=True))  # None is None


def _joined(a: Batch, b: Batch) -> Batch:
    """The batch of which two processes have a part each."""
    return Batch(*(None if x is None or y is None else torch.cat((x, y)) for x, y in zip(a, b, strict=True)))


def test_shapes_and_types(source: Shards, target: Shards) -> None:
    batches = list(training_batches(_config(), source, target))
    assert len(batches) == 5
    for batch in batches:
        assert batch.source_images.shape == batch.target_images.shape == (4, 3, 64, 64)
        assert batch.source_labels.shape == batch.target_valid.shape == (4, 64, 64)
        assert batch.source_images.dtype == batch.target_images.dtype == torch.float32
        assert (batch.source_labels.dtype, batch.target_valid.dtype) == (torch.int64, torch.bool)
        assert batch.target_valid.all()
        assert ((batch.source_labels < 19) | (batch.source_labels == IGNORE_INDEX)).all()
    assert not _equal(batches[0], batches[1])


def _pixels(images: torch.Tensor) -> np.ndarray:
    """Normalized images as uint8 pictures again."""
    return np.rint(images.permute(0, 2, 3, 1).double().numpy() * STD + MEAN).astype(np.uint8)


def test_a_seed_gives_the_batches_that_it_always_gave(source: Shards, target: Shards) -> None:
    """Made with the first version of the loader: runs of one seed stay comparable."""
    digest = hashlib.sha256()
    for batch in training_batches(_config(), source, target):
        for part in (
            _pixels(batch.source_images),
            batch.source_labels.numpy(),
            _pixels(batch.target_images),
            batch.target_valid.numpy(),
        ):
            digest.update(np.ascontiguousarray(part).tobytes())
    assert digest.hexdigest() == "96f1e87543e85ba254a8cb3261f5a44b970599e060add62ac16fa655c19382ae"


def test_batches_are_the_same_though_only_the_crops_are_decoded(
    pair: Path, source: Shards, target: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tiles so small that many lie beside the crop. The source shrinks by 4/3, the target by 2."""
    changes = {"data.source_size": (96, 48), "data.target_size": (64, 32), "data.crop": 32}
    config = _config(**changes, **{"data.rare_class_min_pixels": 5, "training.iterations": 15})
    expected = list(training_batches(config, source, target))
    monkeypatch.setattr("pgpc.data.shards.source.encode_tiles", lambda pixels, side=7: encode_tiles(pixels, side))
    small = []
    for name in ("source", "target"):
        pack("gta5" if name == "source" else "cityscapes", pair / "raw" / name, tmp_path / name)
        small.append(Shards.open(tmp_path / name, "train"))
    decode, decoded = image_files.decode_tiles, []

    def recorded(data: memoryview, region: Region | None = None) -> np.ndarray:
        pixels = decode(data, region)
        decoded.append(pixels.any(axis=2).mean() if pixels.ndim == 3 else None)
        return pixels

    for module in (image_files, label_files):
        monkeypatch.setattr(module, "decode_tiles", recorded)
    for a, b in zip(expected, training_batches(config, *small), strict=True):
        assert _equal(a, b)
    images = [share for share in decoded if share is not None]
    # The source's labels too. Crops are half of the target's pictures, and less than a third of the source's.
    assert len(images) == 2 * 60 and len(decoded) == 3 * 60 and max(images) < 0.65 and min(images) < 0.4


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_batches(source: Shards, target: Shards, workers: int) -> None:
    here = training_batches(_config(), source, target)
    there = training_batches(_config(**{"data.loader_workers": workers}), source, target)
    assert all(_equal(a, b) for a, b in zip(here, there, strict=True))


def test_processes_share_the_batch_of_one(source: Shards, target: Shards) -> None:
    alone = training_batches(_config(), source, target)
    first = training_batches(_config(), source, target, rank=0, world_size=2)
    second = training_batches(_config(), source, target, rank=1, world_size=2)
    for whole, a, b in zip(alone, first, second, strict=True):
        assert _equal(whole, _joined(a, b))


@pytest.mark.slow
def test_processes_with_workers_share_the_batch_of_one_without(source: Shards, target: Shards) -> None:
    alone = list(training_batches(_config(), source, target))
    config = _config(**{"data.loader_workers": 2})
    shares = [training_batches(config, source, target, rank=rank, world_size=2, start_step=2) for rank in range(2)]
    for whole, a, b in zip(alone[2:], *shares, strict=True):
        assert _equal(whole, _joined(a, b))


def test_resuming_equals_skipping(source: Shards, target: Shards) -> None:
    whole = list(training_batches(_config(), source, target))
    resumed = list(training_batches(_config(), source, target, start_step=3))
    assert all(_equal(a, b) for a, b in zip(whole[3:], resumed, strict=True))
    assert list(training_batches(_config(), source, target, start_step=5)) == []


def test_source_and_target_are_drawn_independently(source: Shards) -> None:
    config = _config(**{"data.rare_class_sampling": False, "data.crop_max_share": 1.0})
    for batch in training_batches(config, source, source):
        assert not torch.equal(batch.source_images, batch.target_images)


def test_seeds_give_other_batches(source: Shards, target: Shards) -> None:
    a = next(training_batches(_config(), source, target))
    b = next(training_batches(_config(seed=1), source, target))
    assert not torch.equal(a.source_images, b.source_images) and not torch.equal(a.target_images, b.target_images)


def test_the_target_does_not_depend_on_how_the_source_is_drawn(source: Shards, target: Shards) -> None:
    a = next(training_batches(_config(), source, target))
    b = next(training_batches(_config(**{"data.rare_class_sampling": False}), source, target))
    assert torch.equal(a.target_images, b.target_images) and not torch.equal(a.source_images, b.source_images)


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_state_is_left_alone(source: Shards, target: Shards, workers: int) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    next(training_batches(_config(**{"data.loader_workers": workers}), source, target))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_crops_are_parts_of_the_pictures(pair: Path, source: Shards, target: Shards) -> None:
    """Image and label are cut and mirrored alike: a crop lies in one picture, and its label at that place."""
    raw = {Path(p).stem: np.array(Image.open(p)) for p in (pair / "raw/source/images").iterdir()}
    ids = {Path(p).stem: np.array(Image.open(p)) for p in (pair / "raw/source/labels").iterdir()}
    raw_ids = np.array([c.cityscapes_id for c in CLASSES])
    batch = next(training_batches(_config(), source, target))
    for image, label in zip(batch.source_images, batch.source_labels, strict=True):
        pixels = np.rint(image.permute(1, 2, 0).numpy() * STD + MEAN).astype(np.uint8)
        matches = [
            (name, left, step)
            for name in raw
            for left in range(65)
            for step in (1, -1)
            if np.array_equal(raw[name][:, left : left + 64][:, ::step], pixels)
        ]
        assert len(matches) == 1
        name, left, step = matches[0]
        label_there = ids[name][:, left : left + 64][:, ::step]
        labeled = label.numpy() != IGNORE_INDEX
        assert np.array_equal(label_there[labeled], raw_ids[label.numpy()[labeled]])
        assert not np.isin(label_there[~labeled], raw_ids).any()


@pytest.mark.slow
def test_uniform_drawing_without_rare_class_sampling(
    source: Shards, target: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[Path, list[int]] = {source.folder: [], target.folder: []}
    read = Shards.image_bytes
    monkeypatch.setattr(Shards, "image_bytes", lambda self, row: rows[self.folder].append(row) or read(self, row))
    config = _config(**{"data.rare_class_sampling": False, "training.iterations": 150})
    for _ in training_batches(config, source, target):
        pass
    for shards in (source, target):
        share = np.bincount(rows[shards.folder], minlength=len(shards)) / 600
        np.testing.assert_allclose(share, 1 / len(shards), atol=0.07)  # four standard deviations


def _write_source(root: Path, labels: list[np.ndarray], images: list[np.ndarray] | None = None) -> Shards:
    """Gray pictures, or those given, with these raw-id labels, in GTA5's layout."""
    for folder in ("images", "labels"):
        (root / f"raw/{folder}").mkdir(parents=True)
    for number, label in enumerate(labels):
        image = np.full((*label.shape, 3), number, dtype=np.uint8) if images is None else images[number]
        Image.fromarray(image).save(root / f"raw/images/{number}.png")
        Image.fromarray(label).save(root / f"raw/labels/{number}.png")
    pack("gta5", root / "raw", root / "packed")
    return Shards.open(root / "packed", "train")


def test_source_images_are_drawn_by_class(tmp_path: Path) -> None:
    # Three pictures of road, one half rider. With a high T both classes are drawn equally often.
    road = np.full((64, 64), 7, dtype=np.uint8)
    rider = road.copy()
    rider[:, 32:] = 25
    shards = _write_source(tmp_path, [road, road, road, rider])
    config = _config(**{"data.rare_class_temperature": 1e4, "data.crop_max_share": 1.0, "training.iterations": 150})
    gray = torch.cat([b.source_images[:, 0, 0, 0] for b in training_batches(config, shards, None)])
    drawn = np.bincount(np.rint(gray.numpy() * STD[0] + MEAN[0]).astype(int), minlength=4) / 600
    # Rider (1/2) only in the last; road (1/2) in each of four.
    np.testing.assert_allclose(drawn, [1 / 8, 1 / 8, 1 / 8, 5 / 8], atol=0.08)


@pytest.mark.slow
def test_crops_are_redrawn_until_they_hold_enough_of_the_class(tmp_path: Path) -> None:
    # 10 columns of rider at the left end of 512. Crops of 64 have 449 places; 5 of them hold more than the 5
    # columns that are enough.
    label = np.full((64, 512), 7, dtype=np.uint8)
    label[:, :10] = 25
    shards = _write_source(tmp_path, [label])
    changes = {
        "data.source_size": (512, 64),
        "data.crop_max_share": 1.0,
        "data.rare_class_min_pixels": 639,
        "data.rare_class_min_crop_ratio": 320 / 639,
        "data.rare_class_temperature": 0.001,
        "training.iterations": 250,
    }
    batches = training_batches(_config(**changes), shards, None)
    counts = torch.cat([(batch.source_labels == 12).sum((1, 2)) for batch in batches])
    accepted = (counts > 320).float().mean().item()
    # Eleven draws, each enough with 5/449: 1 - (444/449)^11 = 0.116; a single draw would give 0.011.
    assert accepted == pytest.approx(1 - (444 / 449) ** 11, abs=0.041)


def test_small_images_are_padded(tmp_path: Path, target: Shards) -> None:
    label = np.full((48, 40), 7, dtype=np.uint8)
    label[:, 20:] = 11
    shards = _write_source(tmp_path, [label])
    changes = {"data.source_size": (48, 40), "data.target_size": (96, 48), "data.rare_class_min_pixels": 10}
    batch = next(training_batches(_config(**changes), shards, target))
    assert (batch.source_labels[:, :48, :40] != IGNORE_INDEX).all()
    assert (batch.source_labels[:, 48:] == IGNORE_INDEX).all() and (
        batch.source_labels[:, :, 40:] == IGNORE_INDEX
    ).all()
    assert batch.source_images[:, :, 48:].abs().max() == 0 and batch.source_images[:, :, :, 40:].abs().max() == 0
    assert batch.target_valid[:, :48].all() and not batch.target_valid[:, 48:].any()
    assert batch.target_images[:, :, 48:].abs().max() == 0


def test_without_target(source: Shards) -> None:
    batch = next(training_batches(_config(), source, None))
    assert batch.target_images is None and batch.target_valid is None
    assert batch.to(torch.device("cpu")).target_images is None


@pytest.mark.parametrize("workers", [0, 1])
def test_target_labels_are_never_read(
    pair: Path, source: Shards, target: Shards, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(training_batches(_config(), source, target))

    # Poison every byte of the labels and of the counts made from them, on disk.
    folder = Path(shutil.copytree(pair / "target", tmp_path / "target"))
    path = folder / "train-00000.arrow"
    data = bytearray(path.read_bytes())
    for row in range(len(target)):
        label = target.label_bytes(row)
        data[(place := data.index(label)) : place + len(label)] = b"\xff" * len(label)
    counts = target.class_pixels.tobytes()
    data[(place := data.index(counts)) : place + len(counts)] = b"\xff" * len(counts)
    path.write_bytes(data)
    poisoned = Shards.open(folder, "train")
    assert (poisoned.class_pixels == -1).all()
    assert set(poisoned.label_bytes(0)) == {255}

    # And no label is so much as asked for.
    read = Shards.label_bytes

    def guarded(self: Shards, row: int) -> bytes | None:
        assert self.folder != folder, "a target label was read"
        return read(self, row)

    monkeypatch.setattr(Shards, "label_bytes", guarded)
    batches = training_batches(_config(**{"data.loader_workers": workers}), source, poisoned)
    assert all(_equal(a, b) for a, b in zip(expected, batches, strict=True))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_images_of_another_size_than_their_row_says(
    source: Shards, target: Shards, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shards, "image_bytes", lambda self, row: encode_tiles(np.zeros((64, 100, 3), dtype=np.uint8)))
    with pytest.raises(SampleError, match="could not be read: it is 100 x 64, its row says 128 x 64"):
        next(training_batches(_config(**{"data.loader_workers": workers}), source, target))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_errors_name_the_sample(source: Shards, target: Shards, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Shards.image_bytes
    monkeypatch.setattr(
        Shards, "image_bytes", lambda self, row: read(self, row)[:-300] if row == 3 else read(self, row)
    )
    config = _config(**{"data.loader_workers": workers, "training.iterations": 50})
    with pytest.raises(SampleError, match=r"Image of '.*' \(split 'train' of .*could not be read: .*Pack|pack"):
        list(training_batches(config, source, target))


def test_settings_that_do_not_fit_are_refused_at_once(source: Shards, target: Shards) -> None:
    with pytest.raises(ValueError, match=r"processes \(3\), but got 4\. Set training.batch_size=6"):
        training_batches(_config(), source, target, rank=0, world_size=3)
    with pytest.raises(ValueError, match=r"classes of the source \(19\), but got 16"):
        training_batches(_config(**{"model.num_classes": 16}), source, target)
    with pytest.raises(ValueError, match="min_pixels=100000"):
        training_batches(_config(**{"data.rare_class_min_pixels": 100000}), source, target)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_scored_once(pair: Path, workers: int) -> None:
    val = Shards.open(pair / "target", "val")
    data = _config(**{"data.loader_workers": workers, "data.target_size": (64, 32)}).data
    shares = [list(evaluation_samples(val, data, rank=rank, world_size=2)) for rank in range(2)]
    assert [sample.name for sample in shares[0]] == val.names[0::2]
    assert [sample.name for sample in shares[1]] == val.names[1::2]
    for image, label, name in shares[0]:
        assert image.shape == (1, 3, 32, 64) and image.dtype == torch.float32
        assert label.shape == (64, 128) and label.dtype == np.uint8  # native size
        counts = [(label == c).sum() for c in range(19)]
        assert counts == val.class_pixels[val.names.index(name)].tolist()
        torch.from_numpy(label)


def test_images_may_be_scored_in_another_box_than_the_targets(pair: Path) -> None:
    val, data = Shards.open(pair / "target", "val"), _config(**{"data.target_size": (64, 32)}).data
    assert next(evaluation_samples(val, data, box=(96, 48))).image.shape == (1, 3, 48, 96)


@pytest.mark.slow
def test_more_processes_than_images(pair: Path) -> None:
    val = Shards.open(pair / "target", "val")
    data = _config(**{"data.loader_workers": 2}).data
    assert [len(list(evaluation_samples(val, data, rank=rank, world_size=6))) for rank in range(6)] == [1] * 5 + [0]


def test_training_data_is_addressed_by_step(source: Shards, target: Shards) -> None:
    data = training_data(_config(), source, target, rank=0, world_size=1)
    assert _equal(data[1_000_000], data[1_000_000])


WHOLE = {
    "data.crop": None,
    "data.fit": "exact",
    "data.interpolation": "bicubic",
    "data.source_size": (96, 64),
    "data.target_size": (80, 48),
    "data.rare_class_sampling": False,
    "adaptation.enabled": True,
}


def _proca(**changes: Any) -> Config:
    """Five steps: two on the source, two on both domains, one on the target."""
    return _config(
        **{
            **WHOLE,
            "base": "proca",
            "proca.source_iterations": 2,
            "proca.self_training_iterations": 1,
            "adaptation.feature_distance_weight": 0.0,
            **changes,
        }
    )


def test_whole_images_are_squashed_and_neither_cropped_nor_flipped(pair: Path, source: Shards, target: Shards) -> None:
    batch = next(training_batches(_proca(**{"proca.source_iterations": 1}), source, target, start_step=1))
    assert batch.source_images.shape == (4, 3, 64, 96) and batch.source_labels.shape == (4, 64, 96)
    assert batch.target_images.shape == (4, 3, 48, 80) and batch.target_valid.shape == (4, 48, 80)
    assert batch.target_valid.all()
    for shards, images, size in ((source, batch.source_images, (96, 64)), (target, batch.target_images, (80, 48))):
        expected = [
            np.array(Image.fromarray(read_image(shards, row)).resize(size, Image.Resampling.BICUBIC))
            for row in range(len(shards))
        ]
        for picture in _pixels(images):
            assert any(np.array_equal(picture, whole) for whole in expected)


def test_labels_of_whole_images_are_the_nearest_pixels(source: Shards, target: Shards) -> None:
    labels = next(training_batches(_proca(), source, target)).source_labels.numpy()
    columns = np.arange(96) * 128 // 96
    expected = [read_label(source, row)[:, columns] for row in range(len(source))]
    for label in labels:
        assert any(np.array_equal(label, whole) for whole in expected)


def test_margins_are_cropped_and_flipped_with_the_image(tmp_path: Path, source: Shards) -> None:
    # In the target the gray level is the column, so that a crop tells where it lies and whether it is mirrored.
    columns = np.arange(128, dtype=np.uint8)
    label = np.full((70, 128), 7, dtype=np.uint8)
    shards = _write_source(tmp_path / "columns", [label], images=[np.tile(columns[None, :, None], (70, 1, 3))])
    config = _config(**{"data.target_size": (128, 70), "data.target_margins": (3, 5, 20, 30)})
    seen = set()
    for batch in training_batches(config, source, shards):
        for picture, valid in zip(_pixels(batch.target_images), batch.target_valid.numpy(), strict=True):
            column = picture[0, :, 0]
            in_columns = (column >= 20) & (column < 98)
            rows = valid.any(axis=1)
            assert np.array_equal(valid, rows[:, None] & in_columns)
            # Of rows 3 .. 64 a crop that starts at 0 .. 6 of 70 shows these.
            assert any(np.array_equal(rows, [3 <= top + i < 65 for i in range(64)]) for top in range(7))
            seen.add(bool(column[0] > column[1]))
    assert seen == {True, False}


def test_margins_leave_the_images_alone(source: Shards, target: Shards) -> None:
    plain = next(training_batches(_config(), source, target))
    with_margins = next(training_batches(_config(**{"data.target_margins": (2, 3, 0, 0)}), source, target))
    assert _equal(plain._replace(target_valid=with_margins.target_valid), with_margins)
    assert not with_margins.target_valid[:, :2].any() and not with_margins.target_valid[:, -3:].any()
    assert with_margins.target_valid[:, 2:-3].all()


def test_padding_does_not_count_either(tmp_path: Path, source: Shards) -> None:
    shards = _write_source(tmp_path, [np.full((40, 48), 7, dtype=np.uint8)])
    config = _config(**{"data.target_size": (48, 40), "data.target_margins": (1, 2, 3, 3)})
    valid = next(training_batches(config, source, shards)).target_valid
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[1:38, 3:45] = True
    assert (valid == expected).all()


def test_the_stages_of_proca_take_their_domains(source: Shards, target: Shards) -> None:
    sizes = [
        tuple(0 if images is None else len(images) for images in (batch.source_images, batch.target_images))
        for batch in training_batches(_proca(), source, target)
    ]
    assert sizes == [(8, 0), (8, 0), (4, 4), (4, 4), (0, 8)]
    last = training_data(_proca(), source, target, rank=0, world_size=1)[4]
    assert last.source_images is None and last.source_labels is None
    assert last.to(torch.device("cpu")).source_labels is None


def test_processes_share_every_stage(source: Shards, target: Shards) -> None:
    alone = training_batches(_proca(), source, target)
    shares = [training_batches(_proca(), source, target, rank=rank, world_size=2) for rank in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        for field, a, b in zip(whole, *parts, strict=True):
            if field is None:
                assert a is None and b is None
            else:
                assert torch.equal(field, torch.cat([a, b])) and len(a) == len(b)


@pytest.mark.parametrize("rank", [0, 1])
def test_both_stages_with_a_source_draw_by_proca_s_balance(
    source: Shards, target: Shards, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    read = Shards.label_bytes
    monkeypatch.setattr(Shards, "label_bytes", lambda self, row: rows.append(row) or read(self, row))
    data = training_data(_proca(), source, target, rank=rank, world_size=2)
    for step in range(4):
        data[step]
    draws = ClassBalancedDraws(source.class_pixels)
    # Half of eight, eight, four and four images; those of each stage are numbered through.
    first, second = [([0, 1, 2, 3, 8, 9, 10, 11], [0, 1, 4, 5]), ([4, 5, 6, 7, 12, 13, 14, 15], [2, 3, 6, 7])][rank]
    assert rows == [draws.row(0, "source", i) for i in first] + [draws.row(0, "adapt", i) for i in second]


def test_self_training_scales_native_images_and_shows_their_labeler_whole_ones(source: Shards, target: Shards) -> None:
    """The native images are 128 x 64, the box 80 x 48: at 0.5 to 1.5 times, 64 to 191 columns of which 80 are seen."""
    data = training_data(_proca(), source, target, rank=0, world_size=1)
    batch, before = data[4], data[3]
    assert before.scaled_images is None
    crops = batch.require_scaled()
    assert batch.target_images.shape == crops.images.shape == (8, 3, 48, 80)
    assert crops.native.tolist() == [[64, 128]] * 8
    whole = [
        np.array(Image.fromarray(read_image(target, row)).resize((80, 48), Image.Resampling.BICUBIC))
        for row in range(len(target))
    ]
    for picture in _pixels(batch.target_images):
        assert any(np.array_equal(picture, other) for other in whole)
    # Native pixels per pixel of the crop: between 2, at half the size, and 2/3.
    shown = [columns[columns >= 0] for columns in crops.columns]
    steps = [(x.max() - x.min()).item() / (len(x) - 1) for x in shown]
    assert all(0.6 < step <= 2.1 for step in steps)
    assert max(steps) - min(steps) > 0.3
    assert _equal(data[4], batch)


def test_crops_of_self_training_have_the_side_of_crops(source: Shards, target: Shards) -> None:
    config = _proca(**{"data.crop": 32, "data.fit": "inside"})
    batch = training_data(config, source, target, rank=0, world_size=1)[4]
    assert batch.require_scaled().images.shape == (8, 3, 32, 32)
    assert batch.target_images.shape == (8, 3, 48, 80)


def test_evaluation_images_are_fitted_as_in_training(pair: Path) -> None:
    val = Shards.open(pair / "target", "val")
    sample = next(evaluation_samples(val, _proca().data))
    assert sample.image.shape == (1, 3, 48, 80) and sample.label.shape == (64, 128)
    whole = Image.fromarray(read_image(val, 0)).resize((80, 48), Image.Resampling.BICUBIC)
    assert np.array_equal(_pixels(sample.image)[0], np.array(whole))


def test_labels_of_a_diagnosis_are_those_of_the_very_crops(tmp_path: Path, source: Shards, target: Shards) -> None:
    """A target whose pictures show their labels, at its own size: each pixel of a crop is that of its label."""
    data = training_data(_config(), source, target, rank=0, world_size=1)
    for step in range(3):
        for index, label in enumerate(data.target_labels(step)):
            rng = np.random.default_rng([0, 1, step, index])
            row = int(rng.integers(len(target)))
            width, height = _config().data.target_size
            top, left = int(rng.integers(height - 64 + 1)), int(rng.integers(width - 64 + 1))
            whole = transforms.resize_label(read_label(target, row), (width, height))
            expected = whole[top : top + 64, left : left + 64]
            expected = expected[:, ::-1] if rng.random() < 0.5 else expected
            assert np.array_equal(label.numpy(), expected)


def test_labels_of_a_diagnosis_are_none_where_an_image_has_none(
    source: Shards, target: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = training_data(_config(), source, target, rank=0, world_size=1)
    monkeypatch.setattr(Shards, "label_bytes", lambda self, row: None)
    assert data.target_labels(0) is None
