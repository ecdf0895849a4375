from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pgpc.models import load_weights
from tests.helpers.weights import as_daformer, equal_entries


class _Evil:
    """Runs code when it is unpickled: creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    ("kind", "where"), [("zip", "entry"), ("zip", "meta"), ("legacy", "entry"), ("pickle", "entry")]
)
def test_refuses_files_with_code_and_does_not_run_it(model, donor, tmp_path, kind, where):
    trace, path = tmp_path / "trace", tmp_path / "w.pth"
    weights = as_daformer(donor.state_dict())
    hook = _Evil(trace)
    content = {**weights, "hook": hook} if where == "entry" else {"state_dict": weights, "meta": {"hook": hook}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"io\.open" if kind == "zip" else "could run code"):
        load_weights(model, path)
    assert not trace.exists()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pickle.loads(path.read_bytes()) if kind == "pickle" else torch.load(path, weights_only=False)
    assert trace.exists(), "the file would have run code"


def test_a_checkpoint_with_numpy_values_is_refused_with_the_remedy(model, donor, tmp_path):
    torch.save({"state_dict": as_daformer(donor.state_dict()), "meta": {"mIoU": np.float64(1)}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"numpy.*scalar.*weights_only=False\)\['state_dict'\]"):
        load_weights(model, tmp_path / "w.pth")
    torch.save(torch.load(tmp_path / "w.pth", weights_only=False)["state_dict"], tmp_path / "new.pth")
    load_weights(model, tmp_path / "new.pth")
    assert all(equal_entries(model, donor).values())


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.01, 0.9999])
def test_refuses_files_that_end_too_early(model, donor, tmp_path, name, keep):
    path = tmp_path / name
    save = save_file if name.endswith("safetensors") else torch.save
    save(donor.state_dict(), path)
    load_weights(model, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match="empty" if keep == 0 else "cannot be read"):
        load_weights(model, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"not a file of torch", "must come from a file of torch.save"),
        ("w.safetensors", b"not a file of safetensors", "cannot be read"),
        ("w.pth", None, "is a folder"),
        ("w.safetensors", None, "is a folder"),
    ],
)
def test_refuses_what_is_no_file_of_weights(model, tmp_path, name, content, message):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_weights(model, path)


def test_a_missing_file_is_said_to_be_missing(model, tmp_path):
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            load_weights(model, tmp_path / name)
