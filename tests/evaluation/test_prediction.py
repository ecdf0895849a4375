import errno

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

from pgpc.classes import CITYSCAPES, ClassSet
from pgpc.config import override
from pgpc.data.transforms import box_size, image_tensor, resize_image
from pgpc.evaluation.prediction import (
    PartlyPredicted,
    Picture,
    PredictionError,
    find_photos,
    segment,
    write_predictions,
)
from pgpc.evaluation.segmentation import logits, predict
from pgpc.runtime.locks import FolderInUseError, sole_writer
from tests.helpers.pictures import files_below, noise, save


@pytest.mark.parametrize("window", [None, 64])
@pytest.mark.parametrize("size", [(100, 300), (300, 100), (64, 128)])
def test_segment_equals_the_softmax_of_all_logits_at_native_size(size, window, loaded):
    config = override(loaded.config, {"evaluation.window": window, "evaluation.window_stride": 40})
    image = noise(*size)
    segmented = segment(loaded._replace(config=config), image)

    resized = resize_image(image, box_size(size[1], size[0], (128, 64)))
    model = loaded.student.segmenter
    whole = logits(model, image_tensor(resized)[None], evaluation=config.evaluation)
    native = F.interpolate(whole, size, mode="bilinear", align_corners=False)
    confidence, ids = native.softmax(dim=1)[0].max(dim=0)
    assert segmented.ids.dtype == np.uint8 and segmented.confidence.dtype == np.float32
    assert np.array_equal(segmented.ids, ids.numpy())
    assert np.allclose(segmented.confidence, confidence.numpy(), atol=1e-5)
    assert len(np.unique(segmented.ids)) > 3
    scored = predict(model, image_tensor(resized)[None], size, evaluation=config.evaluation)
    assert np.array_equal(segmented.ids, scored.numpy())


def test_segment_never_holds_all_classes_at_native_size(loaded, monkeypatch):
    """The largest tensor that is resized to the picture's size is of one class."""
    channels = []
    interpolate = F.interpolate

    def record(x, size=None, **options):
        if tuple(size) == (600, 1200):
            channels.append(x.shape[1])
        return interpolate(x, size, **options)

    monkeypatch.setattr(F, "interpolate", record)
    segment(loaded, noise(600, 1200))
    assert set(channels) == {1}


def test_segment_refuses(loaded):
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 RGB, but got \(\(64, 64, 3\), 'float32'\)"):
        segment(loaded, np.zeros((64, 64, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"at least 32 pixels .* \(128, 1\)\. It is too narrow"):
        segment(loaded, np.zeros((10, 1000, 3), dtype=np.uint8))


def test_a_result_is_written_whole_or_not_at_all(loaded, tmp_path, monkeypatch):
    def fail(image, file, *_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "disk full")

    save(noise(64, 128), tmp_path / "photos" / "a.png")
    photos = find_photos(tmp_path / "photos", tmp_path / "out")
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_predictions(loaded, photos, tmp_path / "out", ["train-ids"])
    assert files_below(tmp_path / "out") == ["made_by.json"]


def test_what_goes_wrong_with_one_picture_keeps_no_other_from_being_written(loaded, tmp_path):
    def fail():
        raise MemoryError

    save(noise(64, 128), tmp_path / "photos" / "b.png")
    (photo,) = find_photos(tmp_path / "photos", tmp_path / "out")
    with pytest.raises(PartlyPredicted, match=r"the others are written:\na.raw: MemoryError"):
        write_predictions(loaded, [Picture("a", "a.raw", fail), photo], tmp_path / "out", ["train-ids"])
    assert files_below(tmp_path / "out") == ["made_by.json", "train-ids/b.png"]
    (tmp_path / "out" / "train-ids" / "b.png").unlink()
    (tmp_path / "out" / "train-ids" / "b.png").mkdir()  # which cannot be replaced by a file
    with pytest.raises(PredictionError, match="1 of 1 pictures .*nothing was written"):
        write_predictions(loaded, [photo], tmp_path / "out", ["train-ids"])


def test_folders_that_links_lead_to_twice_are_searched_once(tmp_path):
    save(noise(8, 8), tmp_path / "photos" / "deep" / "a.png")
    (tmp_path / "photos" / "deep" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "same").symlink_to(tmp_path / "photos" / "deep")
    (photo,) = find_photos(tmp_path / "photos", tmp_path / "out")
    assert photo.name in ("deep/a", "same/a")


def test_label_ids_are_refused_for_other_classes(loaded, tmp_path):
    save(noise(64, 128), tmp_path / "a.png")
    own = ClassSet(tuple(f"c{k}" for k in range(19)), CITYSCAPES.colors, ())
    photos = find_photos(tmp_path / "a.png", tmp_path / "out")
    with pytest.raises(ValueError, match="Label ids are for networks on the 19 classes .* but got 'c0"):
        write_predictions(loaded._replace(classes=own), photos, tmp_path / "out", ["label-ids"])
    with pytest.raises(ValueError, match="formats must be of overlay, colour"):
        write_predictions(loaded, photos, tmp_path / "out", ["colors"])
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time_writes_into_a_folder(loaded, tmp_path):
    with sole_writer(tmp_path), pytest.raises(FolderInUseError, match="One process at a time may write"):
        write_predictions(loaded, [], tmp_path)
    write_predictions(loaded, [], tmp_path)
    assert not list(tmp_path.iterdir()), "the lock is gone"
