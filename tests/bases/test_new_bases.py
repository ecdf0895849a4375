"""Whoever adds a base writes one file, or one folder where it has stages, and a preset; the house stays as it is."""

import itertools
import sys

import pytest
import torch

import pgpc
from pgpc import presets
from pgpc.bases import make_base
from pgpc.models.checkpoint import read_checkpoint
from pgpc.presets import BasePreset
from pgpc.training import Callbacks, Resume, trunk
from tests.helpers.training import new_state, open_pair, training_batches

ENTROPY = '''
"""DAFormer with minimized entropy on the target."""

from pgpc.bases.passes import Pass
from pgpc.bases.self_training import SelfTraining
from pgpc.contrast import entropy
from pgpc.models.student import ForwardRequest

WEIGHT = 0.1


class MinimizedEntropy(SelfTraining):
    def more_passes(self, state, batch, log):
        def loss(output):
            log["loss/entropy"] = entropy(output.require_logits()).mean()
            return WEIGHT * log["loss/entropy"]

        return [Pass(ForwardRequest(batch.require_target().images), loss)]


BASE = MinimizedEntropy
'''
"""A base that adds only a loss: one file."""

STAGES = {
    "__init__.py": "from new_bases.staged.base import Staged as BASE\n",
    "base.py": '''
"""The source alone for two iterations; then both domains, with the target's images as labels have them on average."""

import torch
from torch import nn

from pgpc.bases import Base
from pgpc.bases.losses import cross_entropy
from pgpc.bases.passes import Pass, backward, begin_step, end_step
from pgpc.models.student import ForwardRequest

FIRST = 2


class Frequencies(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer("share", torch.zeros(num_classes))


class Staged(Base):
    def make_part(self, student):
        return Frequencies(self.config.model.num_classes)

    def prepare(self, state, source, target):
        if state.step == FIRST:
            pixels = torch.from_numpy(source.class_pixels.sum(axis=0)).float()
            state.base.share.copy_(pixels / pixels.sum())

    def images_per_step(self, step):
        size = self.config.training.batch_size
        return (size, 0) if step < FIRST else (size, size)

    def learning_rate(self, step):
        return 1e-3 if step < FIRST else 1e-4

    def step(self, state, batch):
        log, source = {}, batch.require_source()
        begin_step(state, self.learning_rate(state.step))

        def on_source(output):
            log["loss/source"] = cross_entropy(output.require_logits(), source.labels)
            return log["loss/source"]

        def on_target(output):
            mean = output.require_logits().softmax(dim=1).mean(dim=(0, 2, 3))
            log["loss/share"] = (mean - state.base.share).abs().sum()
            return log["loss/share"]

        passes = [Pass(ForwardRequest(source.images), on_source)]
        if state.step >= FIRST:
            passes.append(Pass(ForwardRequest(batch.require_target().images), on_target))
        backward(state, passes)
        end_step(state, projected=False)
        return {name: value.detach() for name, value in log.items()}
''',
}
"""A base with stages: one folder."""

PRESETS = (
    BasePreset(name="entropy", changes={"base": "new_bases.entropy"}),
    BasePreset(name="staged", changes={"base": "new_bases.staged"}),
)


@pytest.fixture
def new_presets(tmp_path, monkeypatch):
    """The files of the two bases where Python finds them, and their presets among the others."""
    folder = tmp_path / "python" / "new_bases"
    (folder / "staged").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "entropy.py").write_text(ENTROPY)
    for name, text in STAGES.items():
        (folder / "staged" / name).write_text(text)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(presets, "BASES", (*presets.BASES, *PRESETS))
    presets._presets.cache_clear()
    yield
    presets._presets.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "new_bases"]:
        del sys.modules[name]


@pytest.mark.slow
@pytest.mark.usefixtures("new_presets")
@pytest.mark.parametrize("suffix", ["", "+pgpc"])
def test_a_base_that_adds_only_a_loss(tiny, suffix, tmp_path):
    config = tiny(f"streets/entropy{suffix}", {"model.dropout": 0.0})  # which every pass draws anew
    result = pgpc.train(config, out=tmp_path / "run")
    assert result.metrics["loss/entropy"] > 0
    assert ("loss/contrast" in result.metrics) == bool(suffix)
    # Its gradient is there beside that of its base, and nothing else differs.
    ours, theirs = new_state(config), new_state(pgpc.override(config, {"base": "self_training"}))
    batch = next(training_batches(config))
    logs = [make_base(state.config).step(state, batch) for state in (ours, theirs)]
    assert logs[0]["loss/source"] == logs[1]["loss/source"]
    gradients = [torch.cat([p.grad.flatten() for p in s.student.segmenter.parameters()]) for s in (ours, theirs)]
    assert (gradients[0] - gradients[1]).norm() > 1e-4 * gradients[1].norm()


@pytest.mark.slow
@pytest.mark.usefixtures("new_presets")
def test_a_base_with_stages_is_resumed_between_and_within_them(tiny, tmp_path):
    config = tiny("streets/staged", {"training.eval_interval": 1})
    saved = {}

    def keep(metrics, folder):
        if folder is not None:
            saved[metrics["iteration"]] = (folder / "checkpoint.pt").read_bytes()

    whole = pgpc.train(config, out=tmp_path / "whole", callbacks=Callbacks(on_report=keep))
    assert "loss/share" in whole.metrics
    uninterrupted = dict(saved)
    for iteration in (1, 2, 3):
        folder = tmp_path / str(iteration)
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes(uninterrupted[iteration])
        pgpc.train(config, out=folder, begin=Resume(folder), callbacks=Callbacks(on_report=keep))
        learned = []
        for kept in (uninterrupted, saved):
            (folder / "checkpoint.pt").write_bytes(kept[4])
            content = read_checkpoint(folder)
            assert content["base"]["share"].sum() == pytest.approx(1)
            learned.append(torch.cat([value.float().flatten() for value in content["student"].values()]))
        assert torch.equal(*learned)


@pytest.mark.usefixtures("new_presets")
def test_the_loader_the_trunk_and_the_schedule_ask_the_base(tiny):
    config = tiny("streets/staged")
    base = make_base(config)
    source, target = open_pair(config)
    batches = list(itertools.islice(base.batches(source, target), 4))
    assert [batch.target_images is None for batch in batches] == [True, True, False, False]
    assert [base.learning_rate(step) for step in (1, 2)] == [1e-3, 1e-4]


@pytest.mark.usefixtures("new_presets")
def test_a_trunk_depends_on_the_code_of_the_base(tiny, tmp_path):
    changes = {"contrast.start": 3, "contrast.fill": 1}
    for name in ("entropy", "staged"):
        config = tiny(f"streets/{name}", changes)
        before = trunk.address(config, processes=1, device="cpu", threads=1)
        file = tmp_path / "python" / "new_bases" / ("entropy.py" if name == "entropy" else "staged/base.py")
        file.write_text(file.read_text() + "# Another loss.\n")
        assert trunk.address(config, processes=1, device="cpu", threads=1) != before


@pytest.mark.parametrize("name", ["nothing", "nothing.at.all", "pgpc.classes", "losses"])
def test_a_base_that_is_none_is_refused_with_those_that_there_are(tiny, name):
    with pytest.raises(ValueError, match=r"base must be one of .*proca, self_training.*, but got "):
        make_base(tiny("streets/daformer", {"base": name}))
