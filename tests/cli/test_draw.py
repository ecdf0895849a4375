"""The command, and what it does with checkpoints and splits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import classes_from_json
from pgpc.cli import main
from pgpc.data.domains import open_shards
from pgpc.evaluation.segmentation import predict
from pgpc.figures import networks
from pgpc.figures.networks import compare, draw_selection, load_networks, load_selecting, pixel_features, titles_of


def draw(capsys, *arguments):
    main(["draw", *map(str, arguments)])
    return capsys.readouterr().out.splitlines()


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["draw", *map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def opened(folder, split="val"):
    trained = load_networks([folder], "student")[0]
    return open_shards("streets:target", trained.config.data, split)


def test_comparison(contrasted, plain, tmp_path, capsys):
    out = tmp_path / "grid.png"
    checkpoints = ("--checkpoint", plain, "--checkpoint", contrasted / "checkpoint.pt")
    names = opened(plain).names
    assert draw(capsys, "comparison", *checkpoints, "--images", 2, "--out", out) == [names[1], names[3], f"-> {out}"]
    width, height = Image.open(out).size
    assert width > height > 100
    named = draw(capsys, "comparison", *checkpoints, "--images", names[4], names[0], "--out", out)
    assert named[:2] == [names[4], names[0]]
    different = draw(capsys, "comparison", *checkpoints, "--images", 1, "--most-different", "--out", out)
    assert different[0] in names


def test_each_network_sees_an_image_as_in_its_own_evaluation(make_run, plain):
    """At the size of its own config; results are at native size."""
    small = make_run("small", "streets/source-only", {"seed": 1, "data.target_size": (64, 32), "data.crop": 32})
    both, shards = load_networks([plain, small], "student"), opened(plain)
    compared = compare(both, shards, 2)
    for trained, prediction in zip(both, compared.predictions, strict=True):
        image = networks.read_sample(shards, 2, trained.config.data).image
        assert image.shape[2:] == trained.config.data.target_size[::-1]
        assert np.array_equal(prediction, predict(trained.student.segmenter, image, (64, 128)).numpy())
    assert compared.label.shape == (64, 128)


def test_unlabeled_images_are_compared_without_label(plain, tmp_path, monkeypatch):
    from pgpc.data.shards.reader import Shards

    monkeypatch.setattr(Shards, "label_bytes", lambda self, index: None)
    shards = opened(plain)
    assert compare(load_networks([plain], "student"), shards, 0).label is None
    trained, of = load_selecting(plain, None)
    assert len(draw_selection(trained, of, shards, 0, 0.5).axes) == 6
    with pytest.raises(ValueError, match="all images need labels.*Choose a labeled split"):
        pixel_features([trained], shards, [0, 1], "decoder", per_class=5, seed=0, on_progress=print)


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


def test_embedding_takes_a_space_that_all_networks_have(contrasted, plain, tmp_path, capsys, monkeypatch):
    from pgpc.figures import embedding

    spaces = []
    monkeypatch.setattr(embedding, "describe", lambda student, space: spaces.append(space) or space)
    options = ("--images", 3, "--pixels", 4, "--method", "pca", "--out", tmp_path / "e.pdf")
    for checkpoints, expected in (([contrasted], ["projection"]), ([contrasted, plain], ["decoder", "decoder"])):
        given = [text for path in checkpoints for text in ("--checkpoint", path)]
        assert draw(capsys, "embedding", *given, *options)[-1] == f"-> {tmp_path / 'e.pdf'}"
        assert spaces == expected
        spaces.clear()


@pytest.mark.parametrize(("run", "of"), [("contrasted", "teacher"), ("plain", "student")])
def test_selection_is_the_teachers_where_there_is_one(run, of, request, tmp_path, capsys):
    folder, out = request.getfixturevalue(run), tmp_path / "s.png"
    trained, found = load_selecting(folder, None)
    assert found == of
    figure = draw_selection(trained, found, opened(folder), 1, 0.25)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert f"prediction of the {of}" in shown
    assert sum("25.0 % of pixels" in text for text in shown) >= 2
    name = opened(folder).names[1]
    assert draw(capsys, "selection", "--checkpoint", folder, "--image", 1, "--eta", 0.25, "--out", out)[0] == name
    first = out.read_bytes()
    draw(capsys, "selection", "--checkpoint", folder, "--image", name, "--eta", 0.25, "--out", out)
    assert out.read_bytes() == first


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comparison", "--out", "{tmp}/x.docx"], "pgpc draw: error: --out must end in one of ."),
        (["comparison", "--out", "{tmp}"], "--out must be a file"),
        (["comparison", "--checkpoint", "{tmp}/nowhere"], "No checkpoint at"),
        (["comparison", "--network", "teacher"], "--network teacher must be in the checkpoint"),
        (["comparison", "--label", "a", "--label", "b"], "--label must be given once for each of the 1 checkpoints"),
        (["comparison", "--images", "0"], "--images must be at least 1"),
        (["comparison", "--images", "nobody", "no"], "must be named, or numbered 0 to 4, but got 'nobody'"),
        (["comparison", "--most-different"], "networks can only differ if there are two"),
        (["comparison", "--split", "test"], "'test' was asked for"),
        (["comparison", "--checkpoint", "{two}"], "All networks must tell the same classes apart"),
        (["embedding", "--features", "projection"], "needs a network with a projection head"),
        (["embedding", "--pixels", "0"], "--pixels must be at least 1, but got 0"),
        (["selection", "--image", "7"], "numbered 0 to 4, but got '7'"),
        (["selection", "--eta", "1.5"], "share must lie in (0, 1], but got 1.5"),
        (["selection", "--checkpoint", "{two}"], "Images must be labeled with the networks' classes"),
    ],
)
def test_errors_are_one_message(arguments, message, plain, two_classes, tmp_path, capsys):
    given = [text.format(tmp=tmp_path, two=two_classes) for text in arguments[1:]]
    out = [] if "--out" in given else ["--out", tmp_path / "x.png"]
    error = fails(capsys, arguments[0], "--checkpoint", plain, *out, *given)
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("x.*"))


@pytest.fixture(scope="module")
def two_classes(make_run):
    """A run on other classes than those of the pictures."""
    classes = classes_from_json(None, 6)
    return make_run("two", "streets/source-only", {"model.num_classes": 6}, classes)
