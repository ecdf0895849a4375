import io
import itertools

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.utils.tensorboard import SummaryWriter

import pgpc
from pgpc.bases.state import TrainingState
from pgpc.classes import CITYSCAPES, IGNORE_INDEX
from pgpc.data.domains import open_shards
from pgpc.data.loader import evaluation_samples
from pgpc.recipes.recipe import compose
from pgpc.training import FRESH, Callbacks, tracking
from pgpc.training.outputs import OutputPlace, open_tracker
from pgpc.training.tracking import Tracker
from tests.helpers.training import new_state

NUM = 2
SELECTED = "selected by global entropy, global confidence, class-wise entropy, class-wise confidence"


@pytest.fixture(scope="module")
def material(tiny):
    """Make a state and the samples that are pictured."""

    def make(name="streets", changes=None):
        config = tiny(name, changes)
        shards = open_shards(config.data.target, config.data, "val")
        state = TrainingState(config, torch.device("cpu"), shards.classes)
        return state, list(itertools.islice(evaluation_samples(shards, config.data), NUM))

    return make


def write(folder, state, samples, *steps):
    tracker = Tracker(folder, state.config, CITYSCAPES, step=0, samples=samples, metrics=())
    for step in steps:
        tracker.pictures(state.student, state.teacher, step)
    tracker.close()
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_a_new_run_in_the_folder_of_another_shows_none_of_its_curves(tiny, tmp_path):
    """The one before may have been killed before its first checkpoint."""
    state, place = new_state(tiny()), OutputPlace(tmp_path, None, None)
    for value, steps in ((1.0, (0, 10, 20)), (2.0, (0, 10))):
        tracker = open_tracker(state, place, begin=FRESH, samples=[], compared=None)
        for step in steps:
            tracker.scalars({"loss/source": value}, step)
        tracker.close()
        for file in tmp_path.glob("events.*.*.*.*.*"):  # those of one second need not have names in their order
            file.rename(tmp_path / f"events.out.tfevents.{value}")
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    (tag,) = events.Tags()["scalars"]
    assert [(point.step, point.value) for point in events.Scalars(tag)] == [(0, 2.0), (10, 2.0)]


def image(events, tag):
    return np.array(Image.open(io.BytesIO(events.Images(tag)[-1].encoded_image_string)))


def projector(folder):
    """Of each embedding: its name, the table of vectors, and the labels."""
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    return [
        (
            info.tensor_name,
            np.loadtxt(folder / info.tensor_path, delimiter="\t", ndmin=2),
            (folder / info.metadata_path).read_text().splitlines(),
        )
        for info in config.embeddings
    ]


def hyperparameters(folder):
    """Of the run in `folder`: the columns, its own values, and its status (None before its end)."""
    found = EventAccumulator(str(folder)).Reload().summary_metadata
    parts = {tag.removeprefix("_hparams_/"): m.plugin_data.content for tag, m in found.items() if "hparams" in tag}
    data = {name: HParamsPluginData.FromString(content) for name, content in parts.items()}
    values = MessageToDict(data["session_start_info"])["sessionStartInfo"].get("hparams", {})
    end = MessageToDict(data["session_end_info"])["sessionEndInfo"]["status"] if "session_end_info" in data else None
    return {info.name for info in data["experiment"].experiment.hparam_infos}, values, end


def test_hyperparameters_are_those_that_runs_are_compared_by(tmp_path, material):
    keys = ["contrast.eta", "contrast.weight", "seed", "model.encoder"]
    for name in ("streets", "streets/daformer"):
        state, _ = material(name)
        Tracker(
            tmp_path / name,
            state.config,
            CITYSCAPES,
            step=0,
            samples=[],
            metrics=("eval/mIoU", "train/seconds"),
            compared=keys,
        ).close()
    names = {"eta", "weight", "seed", "encoder"}
    expected = {"eta": 0.5, "weight": 0.1, "seed": 0.0, "encoder": "mit_b0"}
    assert hyperparameters(tmp_path / "streets") == (names, expected, None)
    without = {"seed": 0.0, "encoder": "mit_b0"}
    assert hyperparameters(tmp_path / "streets/daformer") == (names, without, None), "its eta plays no part"


def test_the_config_can_be_pasted_into_a_file(tmp_path, material):
    state, _ = material(changes={"contrast.eta": 0.3})
    write(tmp_path, state, [])
    text = (
        EventAccumulator(str(tmp_path)).Reload().Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    )
    about, _, block = text.partition("\n\n")
    assert "`pgpc train --config config.json --out FOLDER`" in about
    (tmp_path / "config.json").write_text(block)
    assert compose(None, tmp_path / "config.json", {}).config == state.config


def test_curves_of_earlier_versions_are_copied_to_where_they_belong(tmp_path, material):
    with SummaryWriter(str(tmp_path / "old")) as writer:
        for name in ("train/loss/source", "eval/IoU/road", "eval/mIoU", "criteria/snd", "train/bank_fill/source", "x"):
            writer.add_scalar(name, 1.5, 3)
    state, _ = material()
    tracker = Tracker(tmp_path / "new", state.config, CITYSCAPES, step=-1, samples=[], metrics=())
    tracker.copy_curves(tmp_path / "old")
    tracker.close()
    events = EventAccumulator(str(tmp_path / "new")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss/source", "per_class/IoU/road", "eval/mIoU", "selection/snd"}
    assert [(event.step, event.value) for event in events.Scalars("loss/source")] == [(3, 1.5)]


def test_keys_with_the_same_last_part_keep_their_first(tmp_path, material):
    state, _ = material()
    keys = ["optimizer.warmup", "contrast.start", "contrast.enabled", "adaptation.enabled"]
    Tracker(
        tmp_path, state.config, CITYSCAPES, step=0, samples=[], metrics=("eval/mIoU", "train/seconds"), compared=keys
    ).close()
    assert hyperparameters(tmp_path)[0] == {"warmup", "start", "contrast.enabled", "adaptation.enabled"}


@pytest.mark.slow
def test_success_is_noted_at_the_end(tmp_path, tiny):
    class Stop(Exception):
        pass

    def stop(metrics, checkpoint):
        raise Stop

    with pytest.raises(Stop):
        pgpc.train(tiny(), out=tmp_path, callbacks=Callbacks(on_report=stop))
    assert hyperparameters(tmp_path)[2] is None
    pgpc.train(tiny(), out=tmp_path)
    _, values, status = hyperparameters(tmp_path)
    assert status == "STATUS_SUCCESS" and values["contrast.r"] == tiny().contrast.r and "data.crop" not in values


def test_pictures_of_each_evaluation(tmp_path, material):
    state, samples = material()
    events = write(tmp_path, state, samples, 2, 4)
    names = [name for _, _, name in samples]
    expected = {f"pictures/{tag}/{name}" for tag in (SELECTED, "input, label, prediction") for name in names}
    assert set(events.Tags()["images"]) == expected
    for tag in expected:
        assert [event.step for event in events.Images(tag)] == [2, 4]
    assert image(events, f"pictures/{SELECTED}/{names[0]}").shape == (4 * 64, 128, 3)
    assert image(events, f"pictures/input, label, prediction/{names[0]}").shape == (3 * 64, 128, 3)


def test_global_ways_show_eta_of_the_pixels(tmp_path, material):
    state, samples = material(changes={"contrast.eta": 0.3})
    torch.nn.init.normal_(state.teacher.segmenter.decode_head.conv_seg.weight)
    events = write(tmp_path, state, samples, 2)
    parts = image(events, f"pictures/{SELECTED}/{samples[0].name}").reshape(4, 64, 128, 3).astype(int)
    faded = (parts == parts[..., :1]).all(-1) & (parts[..., 0] >= 191)  # light gray, which no class has
    for part in faded[:2]:
        assert (~part).sum() == round(0.3 * 64 * 128)


def test_without_a_teacher_nothing_is_selected(tmp_path, material):
    state, samples = material("streets/source-only")
    assert state.teacher is None
    tags = write(tmp_path, state, samples, 4).Tags()["images"]
    assert {tag.split("/")[1] for tag in tags} == {"input, label, prediction"}
    assert projector(tmp_path)[0][0] == "decoder:00004"


def test_the_projector_has_pixels_of_the_last_evaluation(tmp_path, material):
    state, samples = material()
    write(tmp_path, state, samples, 2)
    assert not (tmp_path / "projector_config.pbtxt").exists()
    write(tmp_path, state, samples, 2, 4)
    [(name, vectors, labels)] = projector(tmp_path)
    assert name == "projection:00004"
    counts = np.bincount(np.concatenate([s.label.ravel() for s in samples]), minlength=256)[:19]
    expected = {CITYSCAPES.names[k]: min(tracking._PROJECTED_PIXELS, counts[k]) for k in np.flatnonzero(counts)}
    assert {name: labels.count(name) for name in labels} == expected
    assert vectors.shape == (len(labels), 8)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_writing_again_after_an_interruption_leaves_one_embedding(tmp_path, material, capsys):
    state, samples = material()
    write(tmp_path, state, samples, 4)
    before = projector(tmp_path)
    write(tmp_path, state, samples, 4)
    after = projector(tmp_path)
    assert len(after) == 1
    assert np.array_equal(before[0][1], after[0][1]) and before[0][2] == after[0][2]
    assert capsys.readouterr().out == ""


def test_images_without_any_labeled_pixel(tmp_path, material):
    state, samples = material()
    blank = [sample._replace(label=np.full_like(sample.label, IGNORE_INDEX)) for sample in samples]
    write(tmp_path, state, blank, 4)
    assert not (tmp_path / "projector_config.pbtxt").exists()


def test_the_training_notices_nothing(tmp_path, material):
    """Modes, buffers and all generators are as they were; the teacher's modules are in a mixture of modes."""
    from pgpc.adaptation.teacher import teacher_mode

    state, samples = material()
    state.student.train()
    teacher_mode(state.teacher)

    def everything():
        networks = (state.student, state.teacher)
        return (
            [module.training for network in networks for module in network.modules()],
            [value.clone() for network in networks for value in network.state_dict().values()],
            [torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))],
        )

    before = everything()
    assert len(set(before[0])) == 2
    write(tmp_path, state, samples, 2, 4)
    after = everything()
    assert before[0] == after[0]
    assert all(torch.equal(a, b) for i in (1, 2) for a, b in zip(before[i], after[i], strict=True))


def test_no_collective_is_called(tmp_path, material, monkeypatch):
    """Only process 0 has a tracker; it would wait for the others for ever."""
    from pgpc.runtime import distributed

    def refuse(*args, **kwargs):
        raise AssertionError("a collective operation")

    state, samples = material()
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for name in ("all_reduce_sum", "all_gather", "broadcast_buffers"):
        monkeypatch.setattr(distributed, name, refuse)
    write(tmp_path, state, samples, 4)


@pytest.mark.slow
def test_a_run_writes_them(tmp_path, tiny):
    pgpc.train(tiny(), out=tmp_path)
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["images"]
    assert sum(tag.startswith(f"pictures/{SELECTED}") for tag in tags) == 3
    assert [name for name, _, _ in projector(tmp_path)] == ["projection:00004"]
