from pathlib import Path

import numpy as np
import pytest
import torch

from pgpc.data.domains import open_shards
from pgpc.evaluation.segmentation import predict
from pgpc.figures import networks
from pgpc.figures.networks import compare, draw_selection, load_networks, load_selecting, pixel_features, titles_of


def opened(folder, split="val"):
    loaded = load_networks([folder], "student")[0]
    return open_shards("streets:target", loaded.config.data, split)


def test_each_network_sees_an_image_as_in_its_own_evaluation(make_run, plain):
    """At the size of its own config; results are at native size."""
    small = make_run("small", "streets/source-only", {"seed": 1, "data.target_size": (64, 32), "data.crop": 32})
    both, shards = load_networks([plain, small], "student"), opened(plain)
    compared = compare(both, shards, 2)
    for loaded, prediction in zip(both, compared.predictions, strict=True):
        image = networks.read_sample(shards, 2, loaded.config.data).image
        assert image.shape[2:] == loaded.config.data.target_size[::-1]
        assert np.array_equal(prediction, predict(loaded.student.segmenter, image, (64, 128)).numpy())
    assert compared.label.shape == (64, 128)


def test_unlabeled_images_are_compared_without_label(plain, tmp_path, monkeypatch):
    from pgpc.data.shards.reader import Shards

    monkeypatch.setattr(Shards, "label_bytes", lambda self, index: None)
    shards = opened(plain)
    assert compare(load_networks([plain], "student"), shards, 0).label is None
    loaded, of = load_selecting(plain, None)
    assert len(draw_selection(loaded, of, shards, 0, 0.5).axes) == 6
    with pytest.raises(ValueError, match="all images need labels.*Choose a labeled split"):
        pixel_features([loaded], shards, [0, 1], "decoder", per_class=5, seed=0, on_progress=print)


@pytest.mark.slow
def test_the_same_pixels_of_all_networks(contrasted, plain, monkeypatch):
    taken = []
    at = networks.features_at

    def features_at(map_, row, column, size):
        taken.append((row.tolist(), column.tolist()))
        return at(map_, row, column, size)

    monkeypatch.setattr(networks, "features_at", features_at)
    both, shards = load_networks([contrasted, plain], "student"), opened(plain)
    run = lambda seed: pixel_features(  # noqa: E731
        both, shards, [0, 1, 2], "decoder", per_class=7, seed=seed, on_progress=lambda done, total: None
    )
    features, labels = run(0)
    assert len(taken) == 6
    assert taken[0::2] == taken[1::2]
    assert [x.shape for x in features] == [(len(labels), 8)] * 2
    assert not np.array_equal(*features)
    again, labels_again = run(0)
    assert all(map(np.array_equal, features, again)) and np.array_equal(labels, labels_again)
    assert taken[:6] == taken[6:]
    run(1)
    assert taken[:6] != taken[12:]


def test_shortest_names_that_differ(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        return titles_of([tmp_path / name for name in names])

    assert make("runs/a") == ["a"]
    assert make("runs/a", "runs/b") == ["a", "b"]
    assert make("runs/a/0", "runs/b/0") == ["a", "b"]
    assert make("x/a/0") == ["a/0"]
    assert make("x/a/0", "x/a/1") == ["a/0", "a/1"]
    assert make("x/a/0", "x/a/1", "x/b/0") == ["a/0", "a/1", "b/0"]
    assert titles_of([Path("exports/a.pt"), Path("exports/b.pt")]) == ["a", "b"]
    assert titles_of([Path("runs/a/checkpoint.pt"), Path("runs/b/checkpoint.pt")]) == ["a", "b"]
    assert titles_of([Path("a"), Path("a")]) == ["a", "a"]


def test_a_selection_is_drawn_with_the_statistics_that_training_selects_with(make_run, monkeypatch):
    """Running statistics of a teacher, which training never reads, do not show in the picture; nor are they moved."""
    folder = make_run("batch norm", changes={"model.encoder": "resnet10t", "model.pretrained": None})
    loaded, of = load_selecting(folder, None)
    shown = []
    monkeypatch.setattr(networks, "selection_figure", lambda photo, scores, *_, of: shown.append(scores))
    shards = opened(folder)
    draw_selection(loaded, of, shards, 0, 0.5)
    for name, buffer in loaded.student.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(1000)
    before = {name: buffer.clone() for name, buffer in loaded.student.named_buffers()}
    draw_selection(loaded, of, shards, 0, 0.5)
    assert torch.equal(*shown)
    assert not any(module.training for module in loaded.student.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in loaded.student.named_buffers())
    draw_selection(loaded, "student", shards, 0, 0.5)
    assert not torch.equal(shown[0], shown[2]), "a student is drawn as it is evaluated"
