"""What a worker writes, as a file; in a process of its own, whose output it changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import logging, os, sys, time
from pathlib import Path
from sweeps.execution.watch.worker_log import is_heard_of, stacks_when_still, write_log
write_log(Path(sys.argv[1]) / "0000", 1)
os.write(1, b"from a library\\n")
logging.getLogger("pgpc.data").info("read %d files", 3)
logging.getLogger("pgpc.data").warning("few of them")
os.fork() or os._exit(os.write(2, b"from a loader\\n") and 0)
os.wait()
def waits_for_others():
    time.sleep(0.5)
with stacks_when_still(0.1):
    waits_for_others()
print("still here", file=sys.__stderr__)
"""


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True)


def test_all_that_a_worker_writes_is_in_its_runs_directory(tmp_path: Path) -> None:
    for _ in range(2):  # a run that is resumed goes on with the file
        done = run(tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "0000" / "worker-1.log").read_text()
    assert text.count("from a library\n") == text.count("from a loader\n") == text.count("still here\n") == 2
    assert text.count(" INFO pgpc.data: read 3 files\n") == text.count(" WARNING pgpc.data: few of them\n") == 2
    assert "Timeout (0:00:00" in text and "in waits_for_others" in text, "where it is, is there, too"


def test_a_folder_that_cannot_be_written_is_left_to_the_training(tmp_path: Path) -> None:
    (tmp_path / "0000").touch()
    done = run(tmp_path)
    assert done.returncode == 0 and "from a library" in done.stdout and "from a loader" in done.stderr
