"""Results that outlive a cluster, in a bucket."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pgpc.runtime import storage

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_results_outlive_the_cluster(s3, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    trial = old / "first" / "trials" / "0000"
    trial.mkdir(parents=True)
    (trial / "checkpoint.pt").write_bytes(b"weights")
    study = sqlite3.connect(old / "first" / "study.db")
    study.execute("create table trials (number)")
    study.execute("insert into trials values (1)")
    study.commit()
    study.execute("insert into trials values (2)")  # a driver in the middle of a transaction
    program = [sys.executable, str(ROOT / "cluster" / "keep_results.py")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        subprocess.run([*program, "save", str(old), s3], check=True, env=env)
    torn = tmp_path / "torn.db"  # what a copy of a file may be that is being written
    torn.write_bytes((old / "first" / "study.db").read_bytes()[:5000])
    storage.upload(torn, f"{s3}/first/study.db")
    subprocess.run([*program, "restore", str(new), s3], check=True, env=env)
    study.rollback()
    assert (new / "first" / "trials" / "0000" / "checkpoint.pt").read_bytes() == b"weights"
    assert sqlite3.connect(new / "first" / "study.db").execute("select number from trials").fetchall() == [(1,)]
