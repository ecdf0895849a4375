"""Commands that fail."""

from __future__ import annotations

import pytest

from pgpc.cli import main


def fails(capsys, *arguments, code=2):
    """What a command ends with that fails with this exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == code
    return capsys.readouterr().err
