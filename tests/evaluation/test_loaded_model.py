import shutil

import pytest
import torch

import pgpc
from pgpc.config import override, to_dict
from pgpc.evaluation.loaded_model import LoadedModel, load_model
from pgpc.models.checkpoint import read_checkpoint
from pgpc.models.export import export_weights, load_exported
from pgpc.presets import preset
from tests.helpers.runs import SMALL, untrained_run


@pytest.fixture(scope="module")
def with_teacher(tmp_path_factory):
    """A run with a projection head, and a teacher whose weights differ from the student's."""

    def change(network, name):
        if name == "teacher":
            for parameter in network.parameters():
                parameter.add_(1)

    config = override(preset("streets/daformer+pgpc"), {**SMALL, "model.pretrained": "gone.pth"})
    folder = tmp_path_factory.mktemp("run")
    state = override(config, {"model.pretrained": None})
    untrained_run(folder, state, change=change)
    content = torch.load(folder / "checkpoint.pt")
    content["config"] = content["config"].replace('"pretrained": null', '"pretrained": "gone.pth"')
    torch.save(content, folder / "checkpoint.pt")
    return folder


def equal(loaded, state):
    own = loaded.student.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["student", "teacher"])
def test_a_run_is_read_by_its_folder_or_its_checkpoint(network, with_teacher, tmp_path):
    """The file of initial weights is not needed."""
    state = read_checkpoint(with_teacher)
    copied = shutil.copy(with_teacher / "checkpoint.pt", tmp_path / "of another name")
    for path in (with_teacher, str(with_teacher), with_teacher / "checkpoint.pt", copied):
        loaded = load_model(path, network)
        assert equal(loaded, state[network])
        assert not loaded.student.training
        assert loaded.student.projection is not None
        assert loaded.config.model.pretrained is None
        assert (loaded.iteration, len(loaded.classes.names)) == (0, 19)
    assert not equal(load_model(with_teacher), state["teacher"])


def test_an_export_has_neither_head_nor_iteration(with_teacher, tmp_path):
    loaded = load_model(with_teacher)
    export_weights(loaded.student.segmenter, to_dict(loaded.config), tmp_path / "w.pth", loaded.classes)
    exported = load_model(tmp_path / "w.pth")
    assert exported.student.projection is None
    assert not exported.config.contrast.enabled
    assert (exported.iteration, exported.file) == (None, tmp_path / "w.pth")
    images = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(exported.student.segmenter(images), loaded.student.segmenter(images))
    with pytest.raises(ValueError, match="--network teacher must be in the checkpoint"):
        load_model(tmp_path / "w.pth", "teacher")


def test_precision_is_that_of_the_config(tmp_path):
    config = override(preset("streets/source-only"), {**SMALL, "training.precision": "bfloat16"})
    loaded = load_model(untrained_run(tmp_path, config))
    with torch.no_grad(), loaded.student.in_precision(torch.device("cpu")):
        assert loaded.student.segmenter(torch.zeros(1, 3, 64, 64)).dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in loaded.student.parameters())


def test_what_holds_no_network_is_refused(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="No checkpoint at .*nowhere"):
        load_model(tmp_path / "nowhere")
    torch.save({"state_dict": {}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no config beside its weights"):
        load_model(tmp_path / "w.pth")
    with pytest.raises(ValueError, match="has no teacher"):
        load_model(run, "teacher")


def test_it_is_public(run):
    assert pgpc.load_model is load_model
    assert isinstance(pgpc.load_model(run), LoadedModel)


def test_a_checkpoint_and_an_export_whose_config_is_null_are_refused(with_teacher, tmp_path):
    content = read_checkpoint(with_teacher)
    torch.save({**content, "config": "null"}, tmp_path / "checkpoint.pt")
    torch.save({"config": "null", "state_dict": content["student"]}, tmp_path / "exported.pt")
    for name in ("checkpoint.pt", "exported.pt"):
        with pytest.raises(ValueError, match=rf"The config in .*{name} cannot be read: a config must be an object"):
            load_model(tmp_path / name)
    with pytest.raises(ValueError, match=r"exported\.pt is 'null'"):
        load_exported(tmp_path / "exported.pt")
