import sys

import pytest

from sweeps import report
from sweeps.common import commands
from sweeps.definition.folder import own_folder
from sweeps.driver import _nobody_reads
from sweeps.reporting.data import check_folder


@pytest.mark.parametrize("program", ["/home/me/project/sweeps/run_ablation.py", "-c", "/usr/bin/python3", ""])
def test_in_a_checkout_commands_are_called_by_their_files(program, tmp_path):
    (tmp_path / "setup.py").touch()
    assert not commands.called_by_name(program, tmp_path)


@pytest.mark.parametrize("program", ["/opt/venv/bin/pgpc-sweep", "pgpc-report"])
def test_what_was_called_by_its_name_is_called_so_again(program, tmp_path):
    (tmp_path / "setup.py").touch()
    assert commands.called_by_name(program, tmp_path)


def test_without_a_checkout_there_are_only_names(tmp_path):
    assert commands.called_by_name("-c", tmp_path)


def test_what_is_typed_and_what_a_command_calls_itself(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweeps/run_ablation.py"])
    assert commands.sweep_command() == "python sweeps/run_ablation.py"
    assert commands.program(commands.report_command()) == "report.py"
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/pgpc-sweep"])
    assert (commands.sweep_command(), commands.report_command()) == ("pgpc-sweep", "pgpc-report")
    assert commands.program(commands.sweep_command()) == "pgpc-sweep"


@pytest.mark.parametrize(
    ("program", "typed", "itself"),
    [
        ("sweeps/run_ablation.py", "python sweeps/run_ablation.py", "run_ablation.py"),
        ("/opt/venv/bin/pgpc-sweep", "pgpc-sweep", "pgpc-sweep"),
    ],
)
def test_messages_call_commands_as_they_are_called_here(program, typed, itself, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setenv("COLUMNS", "1000")  # else help is wrapped, also within names
    assert _nobody_reads().startswith(f"{itself}: nobody reads")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with (
        own_folder(tmp_path / "a"),
        pytest.raises(ValueError, match=rf"itself: srun --ntasks=1 {typed} \.\.\.$"),
        own_folder(tmp_path / "a"),
    ):
        pass
    with pytest.raises(ValueError, match=f"as {itself} has printed it"):
        check_folder(tmp_path)
    with pytest.raises(SystemExit):
        report.main(["--help"])
    assert f"as {itself} --select-by names them" in " ".join(capsys.readouterr().out.split())
