"""Commands that fail."""

from __future__ import annotations

import pytest

from pgpc.cli import main


def fails(capsys, *arguments):
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err
