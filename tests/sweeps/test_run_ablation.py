"""What a user does wrong is said in one message; what goes wrong in a trial costs that trial only."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import pgpc
from pgpc.config import to_dict
from sweeps import run_ablation
from sweeps.definition.options import DEFAULTS, SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.space import own_values, search_space
from sweeps.search.study import check_study

pytestmark = pytest.mark.timeout(900)
OTHER_CLUSTER = """
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="CRITICAL")
print("up", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "street"], "Unknown preset 'street'. Did you mean 'streets'?"),
        (["--set", "contrast.etta=1"], "Unknown config key 'contrast.etta'"),
        (["--set", "contrast.r=19"], "contrast.r must be smaller than model.num_classes (19)"),
        (["--set", "contrast.eta=0"], "contrast.eta must lie in (0, 1]"),
        (["--set", "contrast.eta"], "--set takes KEY=VALUE"),
        (["--set", "contrast.enabled=false"], "contrast.enabled must be true"),
        (
            ["--workers", "3", "--set", "training.batch_size=4"],
            "training.batch_size (4) must be divisible by --workers",
        ),
        (["--objectives", "mIoU,seconds", "--scheduler", "asha"], "--scheduler must be none, but got asha"),
        (["--search", "nsga2"], "nsga2 is for several --objectives"),
        (["--table", "12", "--objectives", "mIoU,seconds"], "there is no --objectives"),
        (["--name", "a/b"], "--name must be a plain name"),
        (["--name", ".."], "--name must be a plain name"),
        (["--name=-x"], "which does not begin with a dash, but got '-x'"),
        (["--name", "a\nb"], "--name must be a plain name"),
        (
            ["--set", "adaptation.feature_distance_weight=0.1", "--set", "model.pretrained=none"],
            "Set model.pretrained=imagenet or a file",
        ),
        (["--resume", "absent"], "There is no sweep 'absent'"),
        (["--resume"], "There is no sweep to resume"),
        (["--set", "data.source=nowhere", "--set", "model.pretrained=none"], "nowhere"),
        (["--set", "model.encoder=mit_b9"], "model.encoder must be the name of a timm model, but got 'mit_b9'"),
        (["--set", "model.pretrained=nowhere"], "model.pretrained must name a file"),
        (
            ["--set", "training.iterations=30", "--set", "contrast.start=40"],
            "contrast.start must be smaller than training.iterations (30)",
        ),
        (["--address", "127.0.0.1:1"], "No Ray cluster answers at '127.0.0.1:1'"),
        (["--address", "ray://host:10001"], "--address takes HOST:PORT"),
        (["--set", "base=unet"], "base must be one of proca, self_training"),
    ],
)
def test_user_errors_are_one_message(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--address" in arguments:
        arguments = [*arguments, "--set", "data.streets.num_source=2", "--set", "data.streets.num_target=2"]
    assert run_ablation.main(["--storage", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("run_ablation.py: error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "a sweep that has not started leaves nothing behind"


def test_sampler_that_lacks_its_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run_ablation.main(["--storage", str(tmp_path), "--search", "cmaes"]) == 2
    assert "pip install cmaes" in capsys.readouterr().err


@pytest.mark.slow
def test_another_ray_is_one_message() -> None:
    code = "import sys, ray; ray.__version__ = '2.61.0'; from sweeps.run_ablation import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert "private to release 2.60, but Ray 2.61.0 is installed" in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_was_there_survives_a_failed_start(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert run_ablation.main(["--storage", str(tmp_path), "--name", "mine", "--set", "data.source=nowhere"]) == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.slow
def test_storage_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run_ablation.main(["--storage", str(tmp_path / "file")]) == 2
    assert "must be writable" in capsys.readouterr().err


def write_sweep(folder: Path) -> None:
    """The sweep.json of a sweep with the default flags."""
    config = pgpc.preset("streets")
    space = {k: json.loads(optuna.distributions.distribution_to_json(d)) for k, d in search_space(config).items()}
    stored = {
        "runs": [],
        "flags": {**DEFAULTS.to_json(), "seed": 0, "trials": 5},
        "space": space,
        "config": to_dict(config),
    }
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(stored))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "old"], "exists in"),
        (["--resume", "old", "--preset", "streets/daformer+pgpc"], "keeps its --preset, which was 'streets'"),
        (["--resume", "old", "--set", "contrast.eta=0.4"], "keeps its --set"),
        (["--resume", "--seed", "5"], "keeps its --seed, which was 0"),
        (["--resume", "old", "--name", "new"], "Give one of them"),
    ],
)
def test_resuming_keeps_what_the_sweep_is(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "old")
    assert run_ablation.main(["--storage", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "old" / "sweep.json").exists()


def test_two_drivers_on_one_sweep_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path / "old")
    with (tmp_path / "old" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_ablation.main(["--storage", str(tmp_path), "--resume"]) == 2
    assert "Another process is running the sweep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "sweep.json").write_text('{"runs": ['), "sweep.json must be what a sweep wrote"),
        (lambda folder: (folder / "sweep.json").write_text('{"runs": []}'), "damaged: it lacks 'flags'"),
        (lambda folder: (folder / "sweep.json").write_text("[]"), "sweep.json must be what a sweep wrote"),
        (lambda folder: (folder / "sweep.json").unlink(), "has trials, but no sweep.json"),
        (lambda folder: (folder / "study.db").unlink(), "has trained 0000, base, but its study"),
        (lambda folder: (folder / "study.db").write_bytes(b""), "does not know them"),
        (lambda folder: (folder / "study.db").write_bytes(b"SQLite format 3" * 99), "but is damaged"),
        (lambda folder: os.truncate(folder / "study.db", 8192), "but is damaged"),
        (lambda folder: (folder / "trials" / "0007").mkdir(), "0007, base, but its study"),
    ],
    ids=["json cut off", "json lacks", "json other", "json gone", "no study", "empty", "other", "cut off", "older"],
)
def test_damaged_sweeps_are_named_before_they_are_resumed(
    damage: Callable[[Path], Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "old"
    write_sweep(folder)
    url = f"sqlite:///{folder}/study.db"
    for name in ("old", "old-reference"):
        optuna.create_study(study_name=name, storage=url, direction="maximize").ask()
    for trial in ("base", "0000"):
        (folder / "trials" / trial).mkdir(parents=True)
    check_study(folder, "first")
    damage(folder)
    assert run_ablation.main(["--storage", str(tmp_path), "--resume", "old"]) == 2
    error = capsys.readouterr().err
    assert message in error and "under another --name" in error and "Traceback" not in error


def test_flags_of_a_resumed_sweep_are_the_first_ones_unless_given() -> None:
    stored = SweepOptions(trials=40, search="random")
    options = stored.resumed({"trials": 60})
    assert (options.trials, options.search, options.workers) == (60, "random", None)
    assert SweepOptions(share_trunk=False).resumed({"share_trunk": True}).share_trunk
    with pytest.raises(ValueError, match="keeps its --workers, which was 2, but got 1"):
        SweepOptions(workers=2).resumed({"workers": 1})


def test_more_than_the_cluster_has_is_refused_before_a_worker_starts(
    start: Callable[..., Any], tiny: list[str], tmp_path: Path
) -> None:
    driver = start("--storage", tmp_path, "--gpus-per-worker", 50, *tiny)
    assert driver.wait(300) == 2
    assert "asks for 1 worker x 1 CPU and 50 GPU, but the cluster has" in driver.output
    assert "Use --gpus-per-worker 0" in driver.output
    assert driver.leaves_nothing() and not list(tmp_path.iterdir())


@pytest.mark.long
def test_pruned_trials_free_their_workers_for_the_next(
    start: Callable[..., Any], tiny: list[str], tmp_path: Path
) -> None:
    # An earlier trial of the study was unbeatable at ASHA's first rung, so that each new one is stopped there.
    options = {"storage": str(tmp_path), "name": "pruned", "trials": 6, "set": tuple(tiny[1::2])}
    sweep = new_sweep(SweepOptions.from_given(options))
    config, space = sweep.config, sweep.space
    sweep.folder.mkdir()
    sweep.save()
    url = f"sqlite:///{tmp_path}/pruned/study.db"
    study = optuna.create_study(study_name="pruned", storage=url, direction="maximize")
    for _ in range(4):
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED,
                params=own_values(config, space),
                distributions=space,
                intermediate_values={6: 100.0},
                system_attrs={"completed_rung_0": 100.0},
            )
        )
    reference = optuna.create_study(study_name="pruned-reference", storage=url, direction="maximize")
    reference.add_trial(create_trial(value=1.0))

    # A second cluster on the machine, as another sweep has it: whoever asks Ray without an address gets no answer.
    other = subprocess.Popen([sys.executable, "-c", OTHER_CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"up\n"
    driver = start("--storage", tmp_path, "--resume", "pruned")
    assert driver.wait() == 0, driver.output
    assert re.findall(r"(\d{4})  pruned \(stopped early\) at iteration (\d+) of 12", driver.output) == [
        ("0004", "6"),
        ("0005", "6"),
    ]
    assert driver.leaves_nothing()
    other.communicate()
