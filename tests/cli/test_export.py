import pytest
import torch

from pgpc.cli import main
from pgpc.config import override
from pgpc.presets import preset
from tests.helpers.cli import fails
from tests.helpers.runs import SMALL, untrained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a teacher whose weights differ from the student's, and a projection head."""

    def change(network, name):
        if name == "teacher":
            for parameter in network.parameters():
                parameter.add_(1)

    config = override(preset("streets/daformer+pgpc"), SMALL)
    return untrained_run(tmp_path_factory.mktemp("run"), config, change=change)


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
