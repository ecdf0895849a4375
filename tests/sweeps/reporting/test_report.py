"""The command `report.py`, and what the rooms of results and reports load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from sweeps import report
from tests.helpers.reports import TYPICAL, Make

ROOT = Path(sweeps.__file__).parent
SCRIPT = ROOT / "report.py"
HEAVY = {"ray", "torch", "sklearn", "pandas", "matplotlib"}
MODULES = sorted(
    ".".join(("sweeps", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for room in ("results", "reporting")
    for file in (ROOT / room).rglob("*.py")
)


def loaded(code: str, *arguments: str) -> set[str]:
    """The packages that a process of its own has loaded after the code."""
    code += "\nfinally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(result.stderr.splitlines()[-1].split())


def test_the_command_writes_three_files_and_says_where(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(TYPICAL)
    assert report.main([str(folder), "--images", "0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [str(folder / name) for name in ("report.html", "report.md", "report.tex")]
    assert all(Path(file).is_file() for file in said)


def test_a_folder_that_is_no_sweep_is_a_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("report.py: error: ") and "must be the folder of a sweep" in error


@pytest.mark.slow
@pytest.mark.parametrize("room", ["results", "reporting"])
def test_results_and_reports_load_neither_ray_nor_torch(room: str) -> None:
    modules = [name for name in MODULES if name.startswith(f"sweeps.{room}") and not name.endswith("pictures")]
    assert len(modules) > 5
    assert not HEAVY & loaded(f"import sys\ntry: import {', '.join(modules)}")
    # Pictures are of pgpc, which is torch; but reading the module does not draw them.
    assert not {"ray", "torch"} & loaded("import sys\ntry: import sweeps.reporting.pictures")


def test_help_loads_nothing_that_takes_long() -> None:
    found = loaded("import sys, runpy\ntry: runpy.run_path(sys.argv[1], run_name='__main__')", str(SCRIPT), "--help")
    assert (
        "argparse" in found and not (HEAVY | {"optuna", "numpy", "pyarrow", "PIL", "sqlalchemy", "pgpc.config"}) & found
    )


@pytest.mark.slow
def test_a_report_without_pictures_loads_neither_ray_nor_torch(make: Make) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30.0]})
    code = "import sys\nfrom sweeps import report\ntry: report.main(sys.argv[1:])"
    found = loaded(code, str(folder), "--images", "0")
    assert "optuna" in found and not HEAVY & found and (folder / "report.html").is_file()


def test_the_command_is_a_script_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ)
    assert result.returncode == 2 and "must be the folder of a sweep" in result.stderr
