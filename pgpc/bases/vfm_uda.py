"""VFM-UDA, self-training for vision foundation models, and what VFM-UDA++ adds that needs no compiled operator.

Sources: Englert et al., "Exploring the Benefits of Vision Foundation Models for Unsupervised Domain Adaptation", CVPR
workshops 2024; "VFM-UDA++", ICCV workshops 2025. Token masks, the teacher's mirrored mean and the changes of colors are
keys of the config that any self-training takes, and so are the decoders and the layer-wise rates. This base has what is
left: their learning rate, and the distillation from a frozen encoder.

On purpose different from the authors' code: the loss on the source is averaged over all pixels, not over the labeled
ones; the colors of mixed images are changed as in DACS, one switch a batch; mixed and target images are cut from images
of one size, not of sizes drawn from 0.9 to 1.1 times that; position embeddings are interpolated as timm does it.
"""

from __future__ import annotations

from torch import Tensor, nn

from pgpc.adaptation.distillation import Distillation
from pgpc.bases.passes import Pass
from pgpc.bases.self_training import SelfTraining
from pgpc.bases.state import TrainingState
from pgpc.bases.student_images import jittered
from pgpc.data.batch import Batch
from pgpc.models.build import build_model
from pgpc.models.student import ForwardRequest, Outputs, Student
from pgpc.optimization.optimizer import rate_after_warmup


class VFMUDA(SelfTraining):
    """Self-training with VFM-UDA's learning rate, and with VFM-UDA++'s distillation where that has a weight."""

    def learning_rate(self, step: int) -> float:
        """Return the encoder's learning rate in a step (0-based)."""
        return rate_after_warmup(step, self.config.optimizer, self.config.training.iterations)

    def make_part(self, student: Student) -> nn.Module | None:
        """Return the distillation, whose head is trained; None where it has no weight.

        Args:
            student: The network, whose last map's channels the head takes.

        Raises:
            ValueError: There is no such encoder, no such weights, or it is no plain vision transformer.
            pgpc.models.hub.HubError: The weights are on the hub, which cannot be reached.
        """
        if self.config.distilled is None:
            return None
        network = build_model(self.config.distilled)
        return Distillation(
            network.encoder,
            width=student.segmenter.encoder_channels[-1],
            wanted=network.encoder_channels[-1],
            side=self.config.adaptation.distillation_side,
        )

    def more_passes(self, state: TrainingState, batch: Batch, log: dict[str, Tensor]) -> list[Pass]:
        """Return the passes of the distillation, one of the source images and one of the target's.

        The student sees them with their colors jittered, the frozen encoder as they are. With ``training.accumulate``
        the n-th images of all parts are jittered alike.
        """
        if self.config.distilled is None:
            return []
        domains = {"source": batch.require_source().images, "target": batch.require_target().images}
        return [self._distillation_pass(state, images, domain, log) for domain, images in domains.items()]

    def _distillation_pass(self, state: TrainingState, images: Tensor, domain: str, log: dict[str, Tensor]) -> Pass:
        part, weight = state.base, self.config.adaptation.distillation_weight
        assert isinstance(part, Distillation), "the state has been made by this base"

        def loss(output: Outputs) -> Tensor:
            with state.student.autocast(images.device):
                wanted = part.wanted(state.student.segmenter.context(images))
                log[f"loss/distillation_{domain}"] = part.loss(output.features[-1], wanted)
            return weight * log[f"loss/distillation_{domain}"]

        shown = jittered(state, images, f"colors of the distillation, {domain}")
        return Pass(ForwardRequest(shown, decode=False), loss)


BASE = VFMUDA
