import sys

import pytest

from sweeps.common import commands


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
