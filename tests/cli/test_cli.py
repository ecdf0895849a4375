import io
import sys

import pytest
import torch

from pgpc.cli import main, progress
from pgpc.cli.progress import Progress
from pgpc.config import override
from pgpc.data.shards.reader import read_manifest
from pgpc.data.streets.generator import StreetsConfig, write_streets
from pgpc.presets import preset, preset_names


def fails(capsys, *arguments):
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_show_prints_what_set_takes(capsys):
    main(["show", "streets", "--set", "contrast.eta=0.4"])
    lines = capsys.readouterr().out.splitlines()
    assert "contrast.eta=0.4" in lines
    assert "contrast.negative=source,target" in lines
    main(["show", "streets/daformer+pgpc", *(text for line in lines for text in ("--set", line))])
    assert capsys.readouterr().out.splitlines() == lines


def test_show_lists_presets(capsys):
    main(["show", "--list"])
    assert capsys.readouterr().out.split() == preset_names()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "street"], "pgpc show: error: Unknown preset 'street'. Did you mean 'streets'?"),
        (["show", "--set", "eta"], "--set takes KEY=VALUE, for example contrast.eta=0.4, but got 'eta'"),
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


@pytest.fixture
def gta(tmp_path):
    """Three images and labels in GTA5's layout."""
    write_streets(StreetsConfig(num_source=3, num_target=1, num_val=1, height=64, width=64), tmp_path / "raw")
    return tmp_path / "raw/source"


def test_pack_writes_shards_once(gta, tmp_path, capsys):
    command = ["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")]
    main(command)
    assert capsys.readouterr() == (
        f"{tmp_path}/out is packed: train 3 images (3 with labels) in 1 file; 19 classes\n",
        "",
    )
    main(command)
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out is up to date: train 3 images")
    main(["pack", "--check", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out is sound: train 3 images")


def test_pack_takes_the_splits_that_are_named_or_there(gta, tmp_path, capsys):
    command = ["pack", "--layout", "cityscapes", "--root", str(gta.parent / "target"), "--out", str(tmp_path / "out")]
    main(command)
    assert read_manifest(tmp_path / "out")["splits"].keys() == {"train", "val"}
    main([*command, "--split", "val"])
    assert read_manifest(tmp_path / "out")["splits"].keys() == {"val"}
    assert "'test' split" in fails(capsys, *command, "--split", "val", "--split", "test")


def test_pack_lists_bad_images_or_leaves_them_out(gta, tmp_path, capsys):
    images = sorted((gta / "images").iterdir())
    for image in images[:2]:
        image.write_bytes(b"")
    command = ["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")]
    lines = fails(capsys, *command).splitlines()
    assert "2 problems in the 3 images" in lines[0] and "--skip-bad" in lines[0]
    assert [line.partition(":")[0] for line in lines[1:]] == [f"images/{image.name}" for image in images[:2]]
    assert not (tmp_path / "out").exists()
    main([*command, "--skip-bad"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "left out 2 images:" and [line.strip() for line in lines[1:3]] == [
        image["problem"] for image in read_manifest(tmp_path / "out")["skipped"]
    ]
    assert lines[3].endswith("1 image (1 with labels) in 1 file; 19 classes; 2 left out, listed in the manifest")


def test_check_lists_damage(gta, tmp_path, capsys):
    main(["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")])
    file = tmp_path / "out/train-00000.arrow"
    data = bytearray(file.read_bytes())
    for part in (1, 2):
        data[part * len(data) // 3] ^= 1
    file.write_bytes(data)
    lines = fails(capsys, "pack", "--check", str(tmp_path / "out")).splitlines()
    assert "out is damaged" in lines[0]
    assert lines[1] == f"{file}: the contents changed since they were packed (sha256 differs)"
    assert len(lines) == 4 and all("(train): " in line for line in lines[2:])


def test_pack_goes_on_after_an_interrupt(gta, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "__call__", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")])
    assert stop.value.code == 130 and "the same command goes on" in capsys.readouterr().err
    assert (tmp_path / ".out.partial").is_dir()


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    clock = iter((0.0, 10.0, 12.0, 12.05, 20.0, 30.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", _Terminal())
    show = Progress("packed")
    for done in (100, 140, 141, 300, 500):  # the first hundred were packed before
        show(done, 500)
    show.close()
    assert sys.stderr.getvalue().replace("\033[K", "").split("\r")[1:] == [
        "[####....................] packed 100/500 images",
        "[######..................] packed 140/500 images, 20 images/s, 0:18 left",
        "[##############..........] packed 300/500 images, 20 images/s, 0:10 left",
        "[########################] packed 500/500 images, 20 images/s\n",
    ]


def test_progress_is_a_line_now_and_then_elsewhere(monkeypatch):
    clock = iter((0.0, 0.0, 1.0, 31.0, 40.0, 3700.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show = Progress("checked")
    for done in (1, 2, 3, 4, 5):
        show(done, 500)
    assert sys.stderr.getvalue().splitlines() == [
        "checked 3/500 images, 0.1 images/s, 2:08:24 left",
        "checked 5/500 images, 0.0 images/s, 127:11:15 left",
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a teacher whose weights differ from the student's, and a projection head."""
    from pgpc.bases.state import TrainingState

    small = {"model.encoder": "mit_b0", "model.head_channels": 8, "data.target_size": "128,64", "data.crop": 64}
    state = TrainingState(override(preset("streets/daformer+pgpc"), small), torch.device("cpu"))
    with torch.no_grad():
        for parameter in state.teacher.parameters():
            parameter.add_(1)
    folder = tmp_path_factory.mktemp("run")
    state.save(folder)
    return folder


def without_teacher(run, folder):
    """A copy of the run as it would be without self-training."""
    state = torch.load(run / "checkpoint.pt")
    torch.save({**state, "teacher": None}, folder / "checkpoint.pt")
    return folder


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_export_writes_the_segmenter_alone(network, run, tmp_path, capsys):
    from pgpc.models.export import load_exported

    out = tmp_path / "exports" / "w.pth"
    main(["export", "--checkpoint", str(run), "--out", str(out), "--network", network])
    before, after = (path.stat().st_size / 1e6 for path in (run / "checkpoint.pt", out))
    assert capsys.readouterr().out == f"exported {network}: {after:.1f} MB (checkpoint {before:.1f} MB) -> {out}\n"
    content, state = torch.load(out), torch.load(run / "checkpoint.pt")
    assert content.keys() == {"config", "classes", "state_dict"}
    assert any(name.startswith("projection.") for name in state[network])
    expected = {k.removeprefix("segmenter."): v for k, v in state[network].items() if k.startswith("segmenter.")}
    assert content["state_dict"].keys() == expected.keys()
    assert all(torch.equal(content["state_dict"][name], value) for name, value in expected.items())
    of_student = state["student"]["segmenter.encoder.norm1.bias"]
    assert torch.equal(content["state_dict"]["encoder.norm1.bias"], of_student) == (network == "student")
    assert load_exported(out).state_dict().keys() == expected.keys()


@pytest.mark.parametrize(("given", "size"), [([], (64, 128)), (["--size", "32x96"], (32, 96))])
def test_export_writes_a_program(given, size, run, tmp_path, monkeypatch):
    from pgpc.models import export

    calls = []

    def record(model, path, size):
        path.write_bytes(b"program")
        calls.append((type(model).__name__, size))

    monkeypatch.setattr(export, "export_program", record)  # it takes seconds; its own tests run it
    main(["export", "--checkpoint", str(run), "--out", str(tmp_path / "p.pt2"), "--format", "program", *given])
    assert calls == [("Segmenter", size)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "{tmp}/nowhere"], "pgpc export: error: No checkpoint at"),
        (["--format", "program", "--size", "64"], "--size must be HEIGHTxWIDTH in pixels, for example 512x1024"),
        (["--format", "program", "--size=-64x64"], "but got '-64x64'"),
        (["--format", "program", "--size", "64x16"], "height and width must be at least 32, but got (64, 16)"),
        (["--size", "64x64"], "--size is that of a program's images, but got --format weights"),
        (["--out", "{run}/checkpoint.pt"], "--out must not be the checkpoint itself"),
        (["--out", "{tmp}"], "an export must be written to a file"),
        (["--checkpoint", "{alone}", "--network", "teacher"], "--network teacher must be in the checkpoint"),
    ],
)
def test_export_refuses(arguments, message, run, tmp_path, capsys):
    if "{alone}" in arguments:
        without_teacher(run, tmp_path)
    given = [text.format(tmp=tmp_path, run=run, alone=tmp_path) for text in arguments]
    content = (run / "checkpoint.pt").read_bytes()
    error = fails(capsys, "export", "--checkpoint", str(run), "--out", str(tmp_path / "out"), *given)
    assert message in error
    assert not (tmp_path / "out").exists()
    assert (run / "checkpoint.pt").read_bytes() == content
