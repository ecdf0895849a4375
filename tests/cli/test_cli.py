import re
import signal
import subprocess
import sys

import pytest

import pgpc
from pgpc.cli import build_parser, main, show
from pgpc.runtime.checks import PartlyFailed
from tests.helpers.cli import fails
from tests.helpers.pages import written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--out", "{tmp}", "--set", "data.source=nowhere", "--set", "model.pretrained=none"],
            "pgpc train: error: A folder of shards",
        ),
        (["train", "--out", "{tmp}", "--resume"], "pgpc train: error: No checkpoint.pt in"),
        (["evaluate", "--checkpoint", "{tmp}"], "pgpc evaluate: error: No checkpoint.pt in"),
        (["pack", "--layout", "kitti", "--root", "{tmp}", "--out", "{tmp}/o"], "pgpc pack: error: layout must be one"),
        (
            ["pack", "--layout", "gta5"],
            "Packing needs PHOTOS and SHARDS, or --layout, --root and --out, but got no --root and no --out. See",
        ),
        (["pack", "--check", "{tmp}", "--out", "{tmp}/o"], "--check reads shards and packs nothing"),
        (["pack", "--check", "{tmp}"], "pgpc pack: error: A folder of shards has a manifest.json"),
    ],
)
def test_errors_are_one_message_without_traceback(arguments, message, tmp_path, capsys):
    error = fails(capsys, *(a.format(tmp=tmp_path) for a in arguments))
    assert message in error
    assert "Traceback" not in error


def test_a_run_that_is_not_there_is_missed_before_its_data_are_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    assert "No checkpoint.pt in" in fails(capsys, "train", "--out", tmp_path / "run", "--resume")
    assert not (tmp_path / "cache").exists()


def test_empty_arguments_are_refused(tmp_path, capsys):
    """As of a variable without a value: --out would be the folder that one is in."""
    error = fails(capsys, "predict", "--checkpoint", tmp_path, "--input", tmp_path, "--out", "")
    assert "Arguments must not be empty, but got '' after --out" in error


def test_train_says_whose_curves_it_replaces(tmp_path, capsys, caplog):
    """Of a run that was killed before its first checkpoint, which could not be resumed."""
    command = ["train", "--out", tmp_path, "--set", "data.source=nowhere", "--set", "model.pretrained=none"]
    fails(capsys, *command)
    assert "TensorBoard" not in caplog.text
    (tmp_path / "events.out.tfevents.1.host.2.0").touch()
    fails(capsys, *command)
    assert f"{tmp_path} has TensorBoard curves of an earlier run" in caplog.text
    assert "those of the new run in their place. Choose another --out to see both." in caplog.text
    caplog.clear()
    fails(capsys, *command, "--resume")
    assert "TensorBoard" not in caplog.text


def test_train_leaves_the_best_network_of_another_run_alone(tmp_path, capsys):
    (tmp_path / "best.pt").touch()
    for more in ([], ["--resume"]):
        error = fails(capsys, "train", "--out", tmp_path, "--set", "model.pretrained=none", *more)
        assert "holds a best.pt of a run, but no checkpoint that it could be resumed from. Move it away" in error


def test_train_leaves_a_folder_of_shards_alone(tmp_path, capsys):
    (tmp_path / "manifest.json").touch()
    error = fails(capsys, "train", "--out", tmp_path, "--set", "model.pretrained=none")
    assert "holds shards (manifest.json), which could not be packed anew with a run among them" in error
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_the_pages_show_all_commands_and_no_other(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    groups = re.findall(r"^([\w ]+):\n((?:  \w+  +\w.*\n)+)", text, re.MULTILINE)
    assert [title for title, _ in groups] == ["before training", "training", "a trained network"]
    listed = {name for _, lines in groups for name in re.findall(r"^  (\w+) +\w", lines, re.MULTILINE)}
    assert listed == set(build_parser()._subparsers._group_actions[0].choices)
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


@pytest.mark.parametrize(("error", "code"), [(PartlyFailed("b.jpg"), 1), (ValueError("all"), 2), (OSError("disk"), 2)])
def test_part_of_the_work_is_told_from_none_of_it(error, code, monkeypatch, capsys):
    def fail(arguments):
        raise error

    monkeypatch.setattr(show, "run", fail)
    assert fails(capsys, "show", code=code) == f"pgpc show: error: {error}\n"


def test_defects_keep_their_traceback(monkeypatch):
    def fail(arguments):
        raise RuntimeError("of torch")

    monkeypatch.setattr(show, "run", fail)
    with pytest.raises(RuntimeError, match="of torch"):
        main(["show"])


def test_without_a_command_the_help_is_printed(capsys):
    main([])
    shown = capsys.readouterr()
    assert shown.out.startswith("usage: pgpc ") and "segment pictures" in shown.out and not shown.err


def test_it_knows_its_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"pgpc {pgpc.__version__}\n"


def run_python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **options)


INTO_CLOSED_PIPE = """
import os, sys
from pgpc.cli import main
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
main(["show", "--list"])
"""


@pytest.mark.slow
def test_a_closed_pipe_ends_a_command_without_a_word():
    """As ``| head -3`` closes it, here before anything is written."""
    done = run_python(INTO_CLOSED_PIPE)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_other_broken_pipes_are_errors(monkeypatch, capsys, tmp_path):
    """A connection that is lost is not a reader who has gone."""

    def fail(arguments):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(show, "run", fail)
    with (tmp_path / "out").open("w") as out, pytest.raises(SystemExit) as stop:
        monkeypatch.setattr(sys, "stdout", out)
        main(["show"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "pgpc show: error: [Errno 32] Broken pipe\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "status", "begin"),
    [
        ("from pgpc.cli import main; main(['pack', '--check', 'nowhere'])", 2, "pgpc: error: "),
        ("from sweeps.run_ablation import main; sys.exit(main(['--trials', '1']))", 2, "run_ablation.py: error: "),
        ("from sweeps.report import main; sys.exit(main(['nowhere']))", 2, "report.py: error: "),
        ("sys.tracebacklimit = 0; import pgpc; pgpc.train", 1, "ImportError: "),
    ],
)
def test_where_there_are_no_locks_on_files_one_line_says_on_which_systems_it_runs(code, status, begin):
    """Windows has no fcntl."""
    done = run_python(f"import sys; sys.modules['fcntl'] = None\n{code}")
    assert done.returncode == status
    line = done.stderr.splitlines()[-1] + "\n"
    assert line.startswith(f"{begin}PGPC runs on Linux and macOS") and "WSL" in line
    assert status == 1 or done.stderr == line
