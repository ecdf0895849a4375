"""A sweep in a real notebook: cells that a kernel of Jupyter's runs, and what appears below them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]

FIRST = """
import threading
import sweeps
from tests.sweeps import stub_sweep

stub_sweep.install()
given = dict(
    storage={storage!r}, trials=1, workers=1, scheduler="none", share_trunk=False, concurrency=1,
    set={{"contrast.start": 1, "contrast.fill": 1, "training.iterations": 4}},
)
"""


class Kernel:
    """A kernel that runs cells."""

    def __init__(self, client: nbclient.NotebookClient):
        self._client, self._num_run = client, 0

    def run(self, code: str) -> nbformat.NotebookNode:
        """The cell after it has run, with its outputs; those may be an error."""
        cell = nbformat.v4.new_code_cell(code)
        self._client.nb.cells.append(cell)
        self._num_run += 1
        return self._client.execute_cell(cell, self._num_run - 1)

    def interrupt(self) -> None:
        """What the square in a notebook's toolbar does."""
        asyncio.run(self._client.km.interrupt_kernel())


def printed(cell: nbformat.NotebookNode) -> str:
    """All that a cell has written, to either stream."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def value(cell: nbformat.NotebookNode) -> str:
    """What the last line of a cell has come to, as text."""
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    assert len(results) == 1, cell.outputs
    return str(results[0].data["text/plain"])


def when(there: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Waits for something, and does something, while a cell runs."""

    def wait() -> None:
        deadline = time.monotonic() + 240
        while not there() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=400,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(ROOT)}},
    )
    with client.setup_kernel():
        kernel = Kernel(client)
        first = kernel.run(FIRST.format(storage=str(tmp_path)))
        assert not [output for output in first.outputs if output.output_type == "error"], first.outputs
        yield kernel


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_notebook(kernel: Kernel, tmp_path: Path) -> None:
    shown = kernel.run('results = sweeps.run(name="shown", quiet=False, **given)\nresults.best.label')
    lines = printed(shown)
    assert value(shown) == "'0000'"
    for text in (
        "Sweep shown: a search of 1 trial",
        "base  iteration 4 of 4, mIoU",
        "0000  complete, mIoU",
        "rank  trial",
    ):
        assert text in lines, lines
    assert "\x1b" not in lines and "\r" not in lines, "lines, and no table that is drawn again and again"
    assert {output.output_type for output in shown.outputs} == {"stream", "execute_result"}, shown.outputs

    read = kernel.run("results.to_pandas()[['trial', 'status']].values.tolist(), len(results.study.trials)")
    assert value(read) == "([['base', 'complete'], ['0000', 'complete']], 1)"
    (error,) = kernel.run("results.trial('0007')").outputs
    assert error.ename == "ValueError" and error.evalue.endswith("its trials are: 0000, base.")
    (error,) = kernel.run("sweeps.run(**{**given, 'trials': 0})").outputs
    assert (error.ename, error.evalue) == ("ValueError", "--trials must be a whole number of at least 1, but got 0.")

    begun = tmp_path / "stopped" / "trials" / "0000" / "checkpoint_stub" / "checkpoint.pt"
    interrupting = when(begun.is_file, kernel.interrupt)
    long = '{**given, "set": {**given["set"], "training.iterations": 40}}'
    (error,) = kernel.run(f'sweeps.run(name="stopped", **{long})').outputs
    interrupting.join()
    assert error.ename == "KeyboardInterrupt" and "sweeps.run(resume='stopped', storage=" in error.evalue, error.evalue
    left = kernel.run(f"results = sweeps.read({str(tmp_path / 'stopped')!r}); str(results.trial('0000').status)")
    assert value(left) == "'interrupted'"
    resumed = kernel.run(f"{error.evalue.partition(': ')[2]}.trial('0000').iterations")
    assert value(resumed) == "40"

    threaded = kernel.run(
        "thread = threading.Thread(target=lambda: sweeps.run(name='threaded', quiet=False, **given))\n"
        "thread.start()\nthread.join()\n"
        f"str(sweeps.read({str(tmp_path / 'threaded')!r}).trial('0000').status)"
    )
    assert value(threaded) == "'complete'"
    assert "This is not the main thread: Ctrl-C does not stop the sweep." in printed(threaded)
