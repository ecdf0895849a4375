import re

import pytest

from pgpc.cli import main, show
from tests.helpers.cli import fails
from tests.helpers.pages import written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--out", "{tmp}", "--set", "data.source=nowhere"], "pgpc train: error: A folder of shards"),
        (["train", "--out", "{tmp}", "--resume"], "pgpc train: error: No checkpoint.pt in"),
        (["evaluate", "--checkpoint", "{tmp}"], "pgpc evaluate: error: No checkpoint.pt in"),
        (["pack", "--layout", "kitti", "--root", "{tmp}", "--out", "{tmp}/o"], "pgpc pack: error: layout must be one"),
        (["pack", "--layout", "gta5"], "needs --layout, --root and --out, but got no --root and no --out. See"),
        (["pack", "--check", "{tmp}", "--out", "{tmp}/o"], "--check reads shards and packs nothing"),
        (["pack", "--check", "{tmp}"], "pgpc pack: error: A folder of shards has a manifest.json"),
    ],
)
def test_errors_are_one_message_without_traceback(arguments, message, tmp_path, capsys):
    error = fails(capsys, *(a.format(tmp=tmp_path) for a in arguments))
    assert message in error
    assert "Traceback" not in error


def test_the_pages_show_all_commands_and_no_other(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = set(re.findall(r"^    (\w+) +\w", capsys.readouterr().out, re.MULTILINE))
    assert listed == set(re.findall(r"^(?:pgpc|torchrun .* -m pgpc) (\w+)", written(), re.MULTILINE))


@pytest.mark.parametrize("command", ["pack", "train", "evaluate", "predict", "submit", "draw", "export", "show"])
def test_help_is_whole_sentences(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    description = capsys.readouterr().out.split("\n\n")[1]
    assert description.strip().endswith(".") and description[0].isupper()


def test_interrupted_commands_say_what_is_left(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "run", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["show"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "\npgpc show: interrupted.\n"


def test_defects_keep_their_traceback(monkeypatch):
    def fail(arguments):
        raise RuntimeError("of torch")

    monkeypatch.setattr(show, "run", fail)
    with pytest.raises(RuntimeError, match="of torch"):
        main(["show"])
