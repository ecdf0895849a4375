"""The few labels of the target that are trained on: which images have them, and that none is scored."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import pgpc
from pgpc.data.domains import open_domains, open_shards
from pgpc.data.target_labels import check_unscored, choose_labeled, without_labeled
from tests.helpers.training import training_batches, training_data


@pytest.fixture
def config(tiny):
    return tiny()


@pytest.fixture
def target(config):
    return open_shards("streets:target", config.data, "train")


def listing(folder, *names):
    file = folder / "labeled.txt"
    file.write_text("\n".join(names) + "\n")
    return str(file)


def opened(config, named, **changes):
    data = pgpc.override(config, {"data.target_labels": named, **changes}).data
    return open_domains(data, adapts=True, measures=True)


def test_a_list_names_images_of_the_train_split_and_the_others_are_measured(config, target, tmp_path):
    names = [target.names[2], target.names[0]]
    domains = opened(config, listing(tmp_path, *names))
    assert domains.labeled.names == sorted(names, key=target.names.index)
    assert domains.labeled.num_labeled == 2
    assert domains.target.names == target.names
    assert domains.measured.names == [name for name in target.names if name not in names]


def test_a_split_gives_all_its_labeled_images(config, target):
    domains = opened(config, "split:train")
    assert domains.labeled.names == target.names
    assert domains.measured is None  # criteria are about images whose labels nobody knows
    assert opened(config, None).labeled is None


def test_other_splits_leave_the_train_split_to_be_measured(config, target):
    val = open_shards("streets:target", config.data, "val")
    assert without_labeled(target, val) is target


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("split:none", "has the splits .* but 'none' was asked for"),
        ("gone.txt", r"must be split:NAME or a file that lists images, but 'gone.txt' cannot be read \(No such file"),
    ],
)
def test_what_names_no_images_is_refused(config, named, message):
    with pytest.raises(ValueError, match=message):
        opened(config, named)


def test_a_name_that_is_no_image_is_refused(target, tmp_path):
    with pytest.raises(
        ValueError, match=r"by their names there, such as .*, but 1 of its 2 names are none: 'gone' first"
    ):
        choose_labeled(target, listing(tmp_path, target.names[0], "gone"))


def test_labels_of_images_that_are_scored_are_refused(config, target, tmp_path):
    """Of the scored split itself, and of single images of it; whatever share of them is only reported."""
    with pytest.raises(ValueError, match="must not be scored, .*scored split 'val' both have"):
        opened(config, "split:val")
    named = listing(tmp_path, target.names[3])
    with pytest.raises(ValueError, match=f"both have '{target.names[3]}'"):
        opened(config, named, **{"data.eval_split": "train", "evaluation.report_share": 0.5})


def test_a_copy_under_another_name_is_found(target):
    """Whatever it is called, as long as it is the same file."""
    other = SimpleNamespace(names=["x", "y"], split="test", image_bytes=lambda row: target.image_bytes(4 - row))
    check_unscored(target.take([0, 1]), other)
    with pytest.raises(ValueError, match=f"both have '{target.names[3]}', there under the name 'y'"):
        check_unscored(target.take([1, 3]), other)


def test_images_with_labels_are_normalized_as_all_others(config, target):
    own = pgpc.override(config, {"data.mean": (0.0, 0.0, 0.0), "data.std": (1.0, 1.0, 1.0)})
    source = open_shards("streets:source", config.data, "train")
    batch = next(training_batches(own, source, target, labeled=target))
    for images in (batch.source_images, batch.target_images, batch.labeled_images):
        assert images.min() >= 0 and images.max() > 100, "values as they are in the files"


def test_a_step_takes_as_many_with_labels_as_without_and_the_others_stay_as_they_are(config, target):
    """Whatever the number of processes."""
    source = open_shards("streets:source", config.data, "train")
    plain = next(training_batches(config, source, target))
    assert plain.labeled_images is None
    labeled = target.take([1, 4])
    batch = next(training_batches(config, source, target, labeled=labeled))
    for field, before in zip(batch[:4], plain[:4], strict=True):
        assert field.equal(before)
    images, labels = batch.require_labeled()
    assert images.shape == plain.target_images.shape
    assert labels.shape == plain.source_labels.shape
    assert (labels != 255).any()
    second = training_data(config, source, target, rank=1, world_size=2)
    second._labeled = labeled
    assert second[0].labeled_images.equal(images[1:])
