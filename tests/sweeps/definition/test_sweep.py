"""A sweep's folder says what the sweep is, also after it was moved, and to programs without a command line."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.definition.folder import is_running, own_folder
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep


def saved(storage: Path, **options: object) -> Sweep:
    sweep = new_sweep(SweepOptions.from_given({"storage": str(storage), "name": "mine", **options}))
    sweep.folder.mkdir(parents=True)
    sweep.save()
    return sweep


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (1, 2), "set": ("contrast.r=3",), "trials": 7},
        {"table": (9, 12)},
        {"range": ("contrast.family=hybrid,pixel_to_pixel", "contrast.negatives=64,512 if contrast.family=hybrid")},
    ],
    ids=["search", "tables", "conditions"],
)
def test_a_sweep_is_read_as_it_was_written(options: dict[str, object], tmp_path: Path) -> None:
    sweep = saved(tmp_path / "here", **options)
    (tmp_path / "there").mkdir()
    moved = tmp_path / "there" / "yours"
    sweep.folder.rename(moved)
    found = Sweep.load(moved)
    assert (found.folder, found.options.name, found.options.storage) == (moved, "yours", str(tmp_path / "there"))
    for name in ("config", "space", "when", "table_configs", "seeds", "known", "num_trials", "compared", "is_search"):
        assert getattr(found, name) == getattr(sweep, name), name
    assert len(found.drivers) == 1 and {"command", "started", "versions"} <= set(found.drivers[0])
    found.save()
    assert len(json.loads((moved / "sweep.json").read_text())["runs"]) == 2


def test_a_folder_is_read_without_command_line_ray_and_torch(tmp_path: Path) -> None:
    saved(tmp_path)
    code = f"""import sys
from pathlib import Path
from sweeps.definition.sweep import Sweep
assert Sweep.load(Path({str(tmp_path / "mine")!r})).num_trials == 5
print(*sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sweeps.command_line", "ray", "torch", "sweeps.search"} & set(loaded)


def test_no_sweep_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have a sweep.json, but .* cannot be read"):
        Sweep.load(tmp_path)
    sweep = saved(tmp_path)
    stored = json.loads(sweep.file.read_text())
    for damage, message in (({"flags": {"trials": 0}}, "--trials must be"), ({"space": 3}, "damaged")):
        sweep.file.write_text(json.dumps({**stored, **damage}))
        with pytest.raises(ValueError, match=message):
            Sweep.load(sweep.folder)


def test_one_driver_holds_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert not is_running(folder)
    with own_folder(folder):
        assert is_running(folder) and (folder / "trials").is_dir()
        with pytest.raises(ValueError, match="Another process is running the sweep"), own_folder(folder):
            pass
    assert not folder.exists(), "a sweep that has not started leaves nothing behind"


def test_several_tasks_of_a_job_are_told_that_a_sweep_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    message, folder = "SLURM_NTASKS is 4: .* srun --ntasks=1", tmp_path / "mine"
    with own_folder(folder), pytest.raises(ValueError, match=message), own_folder(folder):
        pass


def test_a_file_system_without_locks_is_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with own_folder(tmp_path / "mine"):
        assert "without locks (No locks available)" in caplog.text


WRONG = [-1, "", True, None, [], ["x"], [{}], {"x": {"y": 3}}, float("inf")]


def test_values_of_a_wrong_type_are_a_sentence(tmp_path: Path) -> None:
    """Whatever is in a file that somebody else may have written, reading it ends well or with a ValueError."""
    sweep = saved(tmp_path, seeds=(1, 2))
    stored = json.loads(sweep.file.read_text())
    places = [(stored, key) for key in stored if key != "seed"]
    places += [(stored["flags"], key) for key in stored["flags"]]
    places += [(stored["config"]["contrast"], "eta"), (stored["config"], "contrast"), (stored["space"], "contrast.eta")]
    places += [(stored["runs"], 0), (stored["runs"][0], "versions"), (stored["runs"][0], "command")]
    refused = 0
    for part, key in places:
        whole = part[key]
        for value in WRONG:
            part[key] = value
            sweep.file.write_text(json.dumps(stored))
            try:
                Sweep.load(sweep.folder)
            except ValueError as error:
                assert "it is damaged" in str(error) or "is of another version" in str(error), error
                assert ".. " not in str(error), error
                refused += 1
        part[key] = whole
    assert refused > 200


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        *(((part,), 3, f"'{part}' must be an object, but is 3") for part in ("flags", "space", "when", "config")),
        (("confirms",), [], r"'confirms' must be an object, but is \[\]"),
        (("runs",), {}, "'runs' must be a list, but is {}"),
        (("space", "contrast.eta"), [3], r"'space' must hold objects, but 'contrast.eta' is \[3\]"),
        (("when", "contrast.eta"), [3], r"'when' must hold objects, but 'contrast.eta' is \[3\]"),
        (("when", "contrast.eta"), {"contrast.r": "3"}, "'when' must hold lists of values, but has '3'"),
        (("confirms", "0000"), "x", "'confirms' must hold objects, but '0000' is 'x'"),
        (("runs", 0), "x", "'runs' must hold command, time and versions of each driver, but has 'x'"),
        (("runs", 0, "command"), 3, "'runs' must hold command, time and versions"),
        (("runs", 0, "started"), None, "'runs' must hold command, time and versions"),
        (("runs", 0, "versions"), [], "'runs' must hold command, time and versions"),
        ((), [], r"it must be an object, but is \[\]"),
    ],
)
def test_each_part_is_told_by_its_name(
    where: tuple[str | int, ...], value: object, message: str, tmp_path: Path
) -> None:
    sweep = saved(tmp_path)
    stored = {"": {"confirms": {}, **json.loads(sweep.file.read_text())}}
    *before, last = ("", *where)
    part = stored
    for key in before:
        part = part[key]
    part[last] = value
    sweep.file.write_text(json.dumps(stored[""]))
    with pytest.raises(ValueError, match=f"it is damaged: {message}"):
        Sweep.load(sweep.folder)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"null", b"3", b'{"runs": 3}'])
def test_what_is_no_json_of_a_sweep_is_damaged(text: bytes, tmp_path: Path) -> None:
    sweep = saved(tmp_path)
    sweep.file.write_bytes(text)
    with pytest.raises(ValueError, match=r"sweep.json must be what a sweep wrote, but it is damaged: "):
        Sweep.load(sweep.folder)


@pytest.mark.parametrize("where", ["config", "flags", "space"])
def test_what_another_version_knows_is_not_called_damaged(where: str, tmp_path: Path) -> None:
    sweep = saved(tmp_path)
    stored = json.loads(sweep.file.read_text())
    stored[where]["later"] = stored["space"]["contrast.eta"]
    sweep.file.write_text(json.dumps(stored))
    message = r"is of another version of this program: .*later.* Resume it with the one that wrote it \(pgpc "
    with pytest.raises(ValueError, match=message) as stop:
        Sweep.load(sweep.folder)
    assert "damaged" not in str(stop.value)


def test_a_sweep_is_not_called_as_the_trunks_that_lie_beside_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--name must not be that of the folder in which sweeps share their trunks"):
        new_sweep(SweepOptions(storage=str(tmp_path), name="warmups"))


@pytest.mark.parametrize(
    "left",
    [
        *("trials/0000/checkpoint_a/checkpoint.pt", "study.db", "reference.db-journal", "results.parquet", "best/x.pt"),
        *("warmups/x", "confirmation/sweep.json", "report.html"),
    ],
)
def test_a_new_sweep_takes_nothing_that_another_has_left(left: str, tmp_path: Path) -> None:
    file = tmp_path / "mine" / left
    file.parent.mkdir(parents=True)
    file.touch()
    options = SweepOptions(storage=str(tmp_path), name="mine")
    with pytest.raises(
        ValueError, match=f"needs a folder of its own, but .*mine has {left.partition('/')[0]}.* Put that"
    ):
        new_sweep(options)
    file.unlink()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "mine" / ".lock").touch()
    (tmp_path / "mine" / "trials").mkdir(exist_ok=True)
    for folder in (file.parent, *file.parent.parents[:1]):
        if folder not in (tmp_path / "mine", tmp_path):
            folder.rmdir()
    assert new_sweep(options).folder == tmp_path / "mine", "what was killed at its start may be started again"


def test_a_lock_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("all my work")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".lock").symlink_to(tmp_path / "precious")
    with own_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "precious").read_text() == "all my work"
