"""``pgpc show``."""

import pytest

from pgpc.cli import main
from pgpc.config import Config, flatten, reference
from pgpc.presets import own_names, preset_names
from tests.helpers.cli import fails


def shown(capsys, *arguments):
    """What the command prints."""
    main(["show", *arguments])
    return capsys.readouterr().out


def test_it_prints_what_set_takes(capsys):
    lines = shown(capsys, "streets", "--set", "contrast.eta=0.4").splitlines()
    assert "contrast.eta=0.4" in lines
    assert "contrast.negative=source,target" in lines
    again = shown(capsys, "streets/daformer+pgpc", *(text for line in lines for text in ("--set", line)))
    assert again.splitlines() == lines


def test_it_lists_presets(capsys):
    assert shown(capsys, "--list").split() == [*preset_names(), *own_names()]


def test_it_explains_a_key(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert shown(capsys, "--explain", "contrast.eta", "--set", "contrast.eta=0.4").splitlines() == [
        "contrast.eta=0.4",
        "    Share of target pixels, those of lowest entropy, that may become",
        "    anchors.",
        "    default        0.5",
        "    values         number, (0, 1]",
        "    first acts     when the memory bank begins to fill, contrast.fill",
        "                   iterations before contrast.start",
        "    running trial  may change it, as a fork of the run that it was",
        "    source         Eqs. 7 and 8; Table 11",
    ]


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("contrast.fill", ["unit           iterations", "running trial  must keep it"]),
        ("contrast.average", ["values         valid / all"]),
        ("contrast.negative", ["default        source,target", "values         a list of source / target"]),
        ("data.crop", ["values         whole number or none, multiples of 32, >= 32"]),
        ("data.loader_workers", ["running trial  may change it when it is resumed"]),
        ("data.source", ["running trial  must keep it, though the same files may lie elsewhere when it is resumed"]),
        ("model.pretrained", ["default        None"]),
    ],
)
def test_it_says_what_values_a_key_takes_and_when_they_may_change(key, lines, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    found = [line.strip() for line in shown(capsys, "--explain", key).splitlines()]
    assert all(line in found for line in lines)


def test_it_explains_a_group_or_all_keys_of_a_preset(capsys):
    names = [line.partition("=")[0] for line in shown(capsys, "--explain", "contrast").splitlines() if "=" in line[:40]]
    assert "contrast.r" in names and not any(name.startswith("data.") for name in names)
    text = shown(capsys, "streets/proca", "--explain")
    assert "\nbase=proca\n" in text
    keys = [block.partition("=")[0] for block in text.split("\n\n")]
    assert keys == list(flatten(Config()))


def test_no_line_is_wider_than_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "64")
    assert max(map(len, shown(capsys, "--explain").splitlines())) <= 64


def test_it_prints_the_reference_page(capsys):
    assert shown(capsys, "--reference") == reference()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explain", "contrast.etta"], "Unknown config key 'contrast.etta'. Did you mean contrast.eta"),
        (["--explain", "proca.enabled"], "Unknown config key 'proca.enabled'. Set base=proca."),
        (["street"], "Unknown preset 'street'. Did you mean 'streets'?"),
        (["--set", "eta"], "--set takes KEY=VALUE, for example contrast.eta=0.4, but got 'eta'"),
    ],
)
def test_errors_name_what_is_near(arguments, message, capsys):
    assert f"pgpc show: error: {message}" in fails(capsys, "show", *arguments)
