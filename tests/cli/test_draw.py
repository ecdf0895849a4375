"""``pgpc draw``, and what it does with checkpoints and splits."""

import re

import pytest
from PIL import Image

from pgpc.classes import classes_from_json
from pgpc.cli import main
from pgpc.cli.draw import FIGURES
from pgpc.data.domains import open_shards
from pgpc.figures.networks import draw_selection, load_networks, load_selecting
from tests.helpers.cli import fails
from tests.helpers.pages import page


def draw(capsys, *arguments):
    main(["draw", *map(str, arguments)])
    return capsys.readouterr().out.splitlines()


def opened(folder, split="val"):
    loaded = load_networks([folder], "student")[0]
    return open_shards("streets:target", loaded.config.data, split)


@pytest.mark.slow
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


@pytest.mark.slow
def test_embedding_takes_a_space_that_all_networks_have(contrasted, plain, tmp_path, capsys, monkeypatch):
    spaces = []
    monkeypatch.setattr("pgpc.evaluation.pixel_features.describe", lambda student, space: spaces.append(space) or space)
    options = ("--images", 3, "--pixels", 4, "--method", "pca", "--out", tmp_path / "e.pdf")
    for checkpoints, expected in (([contrasted], ["projection"]), ([contrasted, plain], ["decoder", "decoder"])):
        given = [text for path in checkpoints for text in ("--checkpoint", path)]
        assert draw(capsys, "embedding", *given, *options)[-1] == f"-> {tmp_path / 'e.pdf'}"
        assert spaces == expected
        spaces.clear()


@pytest.mark.slow
@pytest.mark.parametrize(("run", "of"), [("contrasted", "teacher"), ("plain", "student")])
def test_selection_is_the_teachers_where_there_is_one(run, of, request, tmp_path, capsys):
    folder, out = request.getfixturevalue(run), tmp_path / "s.png"
    loaded, found = load_selecting(folder, None)
    assert found == of
    figure = draw_selection(loaded, found, opened(folder), 1, 0.25)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert f"prediction of the {of}" in shown
    assert sum("25.0 % of pixels" in text for text in shown) >= 2
    name = opened(folder).names[1]
    assert draw(capsys, "selection", "--checkpoint", folder, "--image", 1, "--eta", 0.25, "--out", out)[0] == name
    first = out.read_bytes()
    draw(capsys, "selection", "--checkpoint", folder, "--image", name, "--eta", 0.25, "--out", out)
    assert out.read_bytes() == first


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
    error = fails(capsys, "draw", arguments[0], "--checkpoint", plain, *out, *given)
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("x.*"))


@pytest.fixture(scope="module")
def two_classes(make_run):
    """A run on other classes than those of the pictures."""
    classes = classes_from_json(None, 6)
    return make_run("two", "streets/source-only", {"model.num_classes": 6}, classes)


def test_the_page_of_networks_shows_every_kind_of_figure():
    assert re.findall(r"^pgpc draw (\w+)", page("networks.md"), re.MULTILINE) == [figure.name for figure in FIGURES]
