"""``pgpc diagnose`` as a user calls it; what it finds is tested in tests/diagnosis."""

import json

import pytest

from pgpc.cli import main
from tests.helpers.cli import fails
from tests.helpers.runs import untrained_run, vary_scores


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    config = tiny(changes={"data.loader_workers": 0})
    return untrained_run(tmp_path_factory.mktemp("a run"), config, change=vary_scores)


def test_json_and_picture(run, tmp_path, capsys):
    picture = tmp_path / "d.svg"
    main(["diagnose", "--checkpoint", str(run), "--steps", "2", "--json", "--picture", str(picture)])
    got = json.loads(capsys.readouterr().out)
    assert got["checkpoint"] == str(run) and got["steps"] == [0, 1] and len(got["classes"]) == 19
    assert got["classes"][0]["name"] == "road" and 0 <= got["q"] <= 1
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps must be at least 1, but got 0"),
        (["--least-share", "101"], "--least-share must lie in [0, 100], but got 101"),
        (["--picture", "x.docx"], "--picture must end in one of ."),
        (["--checkpoint", "nowhere/best.pt"], "--checkpoint must be a run's folder or its checkpoint.pt"),
    ],
)
def test_errors_are_one_message(run, arguments, message, capsys):
    error = fails(capsys, "diagnose", "--checkpoint", str(run), *arguments)
    assert message in error and "Traceback" not in error
