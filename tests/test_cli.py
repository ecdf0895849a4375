import json

import pytest

from pgpc.cli import main
from pgpc.data.shards import read_manifest
from pgpc.data.streets import StreetsConfig, write_streets
from pgpc.presets import preset_names


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
        (["pack", "--layout", "kitti", "--root", "{tmp}", "--out", "{tmp}/o"], "pgpc pack: error: "),
    ],
)
def test_errors_are_one_message_without_traceback(arguments, message, tmp_path, capsys):
    error = fails(capsys, *(a.format(tmp=tmp_path) for a in arguments))
    assert message in error
    assert "Traceback" not in error


def test_pack_writes_shards(tmp_path):
    write_streets(StreetsConfig(num_source=2, num_target=1, num_val=1, height=64, width=64), tmp_path / "raw")
    for side, layout in (("source", "gta5"), ("target", "cityscapes")):
        main(["pack", "--layout", layout, "--root", str(tmp_path / "raw" / side), "--out", str(tmp_path / side)])
    assert read_manifest(tmp_path / "source")["splits"]["train"]["count"] == 2
    assert json.loads((tmp_path / "target" / "manifest.json").read_text())["splits"].keys() == {"train", "val"}
