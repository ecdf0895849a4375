"""The training step written the obvious way, as in the public code of DAFormer and of contrastive methods on it.

The losses are those of `pgpc.bases.self_training.train_step`, which the benchmark of the step checks. What is obvious:

- attention as matrix product, softmax, matrix product; embeddings as rows that are brought back to maps; torch's own
  backward pass of dilated depthwise convolutions;
- a backward pass for the cross-entropy, which keeps the graph, and another one for the feature distance;
- the teacher's average in a Python loop over parameters, AdamW in one, a float of every loss at every step;
- whole networks where only features are needed: the decoder runs on the images of the contrast too;
- the projection head on the concatenation of all maps, brought to one size, at every pixel.

The contrast among the pixels that are drawn is ours in both; it has a benchmark of its own.
"""

from __future__ import annotations

import types

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.pseudo_labels import PseudoLabels, pseudo_labels
from pgpc.adaptation.teacher import teacher_mode
from pgpc.bases import TrainingState, make_base
from pgpc.bases.losses import at_stride_of, cross_entropy, upsample
from pgpc.bases.passes import begin_step
from pgpc.bases.student_images import mix_images
from pgpc.contrast import reliable
from pgpc.data.batch import Batch, SourceImages, TargetImages
from pgpc.models.daformer import Embedding
from pgpc.models.depthwise import DilatedDepthwiseConv
from pgpc.models.mit import Attention
from pgpc.models.projection import ProjectionHead
from pgpc.models.student import ForwardRequest, Outputs, Student
from pgpc.runtime.seeding import torch_generator


def attention(self: Attention, x: Tensor) -> Tensor:
    """Stand in for `Attention.forward`."""
    b, h, w, c = x.shape
    context = x
    if self.reduction > 1:
        context = self.norm(self.sr(x.permute(0, 3, 1, 2)).reshape(b, c, -1).permute(0, 2, 1))
    q = self.q(x).reshape(b, h * w, self.num_heads, -1).permute(0, 2, 1, 3)
    k, v = self.kv(context).reshape(b, -1, 2, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(b, h, w, c))


def embedding(self: Embedding, x: Tensor) -> Tensor:
    """Stand in for `Embedding.forward`."""
    rows = self.proj(x.flatten(2).transpose(1, 2))
    return rows.permute(0, 2, 1).contiguous().reshape(len(x), -1, *x.shape[2:])


def hidden(self: ProjectionHead, features: list[Tensor]) -> Tensor:
    """Stand in for `ProjectionHead.hidden`."""
    size = features[0].shape[2:]
    maps = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in features]
    x = F.conv2d(torch.cat(maps, dim=1), torch.cat([level.weight for level in self.levels], dim=1))
    return F.relu(self.bn(x))


def make_obvious(state: TrainingState) -> None:
    """Let a state's networks and optimizer compute the same the obvious way."""
    for network in (state.student, state.teacher, state.initial_encoder):
        for module in network.modules() if network is not None else ():
            for kind, name, function in (
                (Attention, "forward", attention),
                (Embedding, "forward", embedding),
                (ProjectionHead, "hidden", hidden),
                (DilatedDepthwiseConv, "forward", torch.nn.Conv2d.forward),
            ):
                if isinstance(module, kind):
                    setattr(module, name, types.MethodType(function, module))
    config = state.config.optimizer
    groups = [{**group, "fused": False, "foreach": False} for group in state.optimizer.param_groups]
    state.optimizer = torch.optim.AdamW(
        groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=False, foreach=False
    )


def obvious_step(state: TrainingState, batch: Batch) -> dict[str, float]:
    """Make one step of DAFormer, or of it with PGPC."""
    config, adaptation, student, teacher = state.config, state.config.adaptation, state.student, state.require_teacher()
    source, target, losses = batch.require_source(), batch.require_target(), dict[str, Tensor]()
    begin_step(state, make_base(config).learning_rate(state.step))

    decay = min(1 - 1 / (state.step + 1), adaptation.ema_decay)
    for average, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
        average.data[:] = decay * average.data + (1 - decay) * parameter.data

    _learn_source(state, source, losses)
    with torch.no_grad():
        teacher_mode(teacher)
        (seen,) = teacher(ForwardRequest(target.images, project=config.contrast.enabled))
        logits = upsample(seen.logits, target.images.shape[2:], False)
        pseudo = pseudo_labels(
            logits,
            target.valid,
            confidence=adaptation.confidence,
            ignore_top=adaptation.ignore_top,
            ignore_bottom=adaptation.ignore_bottom,
        )
        losses["pseudo_label_weight"] = pseudo.weight.amax()
    if config.contrast.enabled:
        _contrast(state, source, target, seen, logits, pseudo, losses)

    mixed = mix_images(state, source, target, pseudo)
    (output,) = student(ForwardRequest(mixed.images))
    losses["loss/target"] = cross_entropy(output.logits, mixed.labels, mixed.weight)
    (adaptation.target_weight * losses["loss/target"]).backward()

    state.optimizer.step()
    state.step += 1
    return {name: value.item() for name, value in losses.items()}


def _learn_source(state: TrainingState, source: SourceImages, losses: dict[str, Tensor]) -> None:
    """Learn from the labeled images: a backward pass for each of the two losses."""
    adaptation = state.config.adaptation
    (output,) = state.student(ForwardRequest(source.images))
    losses["loss/source"] = cross_entropy(output.logits, source.labels)
    losses["loss/source"].backward(retain_graph=state.initial_encoder is not None)
    if state.initial_encoder is None:
        return
    with torch.no_grad():
        initial = state.initial_encoder(source.images)[-1]
    losses["loss/feature_distance"] = feature_distance(
        output.features[-1],
        initial,
        source.labels,
        things=state.classes.things,
        share=adaptation.feature_distance_share,
        num_classes=state.config.model.num_classes,
    )
    (adaptation.feature_distance_weight * losses["loss/feature_distance"]).backward()


def _contrast(
    state: TrainingState,
    source: SourceImages,
    target: TargetImages,
    seen: Outputs,
    logits: Tensor,
    pseudo: PseudoLabels,
    losses: dict[str, Tensor],
) -> None:
    """Fill the memory bank and learn from the anchors, with maps of unit vectors of all pixels."""
    config, teacher, bank = state.config.contrast, state.require_teacher(), state.require_contrast()
    draws = torch_generator(logits.device, state.config.seed, "contrast", state.step)
    with torch.no_grad():
        sure = pseudo.usable & reliable(logits, config.eta, by=config.reliable_by, per=config.reliable_per)
        of_source = _project(teacher, source.images)
        of_target = _unit_vectors(teacher, seen.require_hidden())
        labels, usable, sure = (at_stride_of(of_target, x) for x in (pseudo.labels, pseudo.usable, sure))
        bank.enqueue_source(of_source, at_stride_of(of_source, source.labels), draws)
        bank.enqueue_target(of_target, seen.require_logits(), labels, usable, sure, draws)
    anchors = _project(state.student, target.images)
    losses["loss/contrast"], _ = bank.loss(anchors, labels, sure, draws)
    (config.weight * losses["loss/contrast"]).backward()


def _project(network: Student, images: Tensor) -> Tensor:
    """Return the unit vectors of all pixels, from a pass of the whole network."""
    (output,) = network(ForwardRequest(images, project=True))
    return _unit_vectors(network, output.require_hidden())


def _unit_vectors(network: Student, hidden: Tensor) -> Tensor:
    return network.unit_vectors(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
