"""The configuration of the bases: self-training on the target, masking, and ProCA."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.fields import Phase, check_fields, documented, key


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptationConfig:
    """Self-training on the target: EMA teacher, pseudo-labels, ClassMix, feature distance, masking.

    With base=proca only the teacher's decay, the confidence and the weight of the target count, which the contrast
    needs.
    """

    enabled: bool = key(
        True,
        doc="Whether the target is used at all; off is the source-only baseline.",
        phase=Phase.START,
    )
    target_weight: float = key(
        1.0,
        doc="lambda_t, the weight of the loss on mixed images.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        source="Eq. 6; Table 8",
    )
    ema_decay: float = key(
        0.999,
        doc="alpha of the teacher's exponential moving average, reached from below as min(1 - 1/(t+1), alpha).",
        low=0,
        below=1,
        phase=Phase.START,
    )
    confidence: float = key(
        0.968,
        doc="kappa: the weight of pseudo-labels is the share of pixels at least this confident.",
        above=0,
        below=1,
        phase=Phase.START,
        source="Eq. 3",
    )
    ignore_top: int = key(
        15,
        doc="Rows at the top of a target crop whose pseudo-labels get weight 0 (rectification artifacts).",
        low=0,
        unit="pixels",
        phase=Phase.START,
    )
    ignore_bottom: int = key(
        120,
        doc="Rows at the bottom of a target crop whose pseudo-labels get weight 0 (the bonnet of the car).",
        low=0,
        unit="pixels",
        phase=Phase.START,
    )
    jitter_probability: float = key(
        0.8,
        doc="Probability that the mixed images of a step are color-jittered.",
        low=0,
        high=1,
        phase=Phase.START,
    )
    jitter_strength: float = key(
        0.2,
        doc="Half-width of the brightness, contrast, saturation and hue perturbations.",
        low=0,
        high=0.5,
        phase=Phase.START,
    )
    blur_probability: float = key(
        0.5,
        doc="Probability that the mixed images of a step are blurred, sigma ~ U(0.15, 1.15) pixels.",
        low=0,
        high=1,
        phase=Phase.START,
    )
    source_colors: Literal["unchanged", "weak", "strong"] = key(
        "unchanged",
        doc='How the colors of labeled source images are changed before the student sees them: "weak" jitters them '
        '(VFM-UDA), "strong" jitters them more, and makes some gray and some blurred (VFM-UDA++). With either, target '
        "images are jittered weakly before source pixels are pasted onto them. For RGB of 8 bits.",
        phase=Phase.START,
        source="VFM-UDA",
    )
    mirrored_teacher: bool = key(
        False,
        doc="Whether the teacher's probabilities of target images are the mean of those of the images and of their "
        "mirror images.",
        phase=Phase.START,
        source="VFM-UDA",
    )
    feature_distance_weight: float = key(
        0.005,
        doc="Weight of the distance between the encoder's last features and those of the frozen initial encoder on "
        "thing classes; 0 turns it off, which is right where the encoder starts from random weights.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        source="DAFormer",
    )
    feature_distance_share: float = key(
        0.75,
        doc="A cell of the coarse label map counts when one class covers at least this share of it.",
        above=0.5,
        high=1,
        phase=Phase.START,
        source="DAFormer",
    )
    masked_weight: float = key(
        0.0,
        doc="Weight of the loss on masked images; 0 turns it off.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        source="MIC",
    )
    masked_images: Literal["target", "both"] = key(
        "target",
        doc="Which images are masked: the target ones, after color augmentation of their own, or without any both, "
        "every second image of the batch a source one (MIC on adverse weather).",
        phase=Phase.START,
        source="MIC",
    )
    mask_unit: Literal["block", "token"] = key(
        "block",
        doc='What is masked as a whole: "block", a square of pixels, or "token", a patch of a plain vision '
        "transformer, in whose place a learned token stands (VFM-UDA). With tokens only target images can be masked.",
        phase=Phase.START,
        source="VFM-UDA",
    )
    mask_block: int = key(
        32,
        doc="Side of the squares that are masked as a whole.",
        low=1,
        unit="pixels",
        phase=Phase.START,
        source="MIC",
    )
    mask_share: float = key(
        0.7,
        doc="Probability that a square, or a patch, is masked.",
        low=0,
        high=1,
        phase=Phase.START,
        source="MIC",
    )

    distillation_weight: float = key(
        0.0,
        doc="Weight of the distance between the encoder's last features, behind a small head, and those of a frozen "
        "encoder, on source and on target images each; 0 turns it off. Counts with base=vfm_uda only.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        source="VFM-UDA++",
    )
    distillation_encoder: str = key(
        "vit_large_patch14_reg4_dinov2",
        doc="Name of the frozen plain vision transformer, as in model.encoder.",
        phase=Phase.START,
        source="VFM-UDA++",
    )
    distillation_pretrained: str | None = key(
        "imagenet",
        doc="Its weights, as in model.pretrained; None for random ones, which are good for tests alone.",
        phase=Phase.START,
        place=True,
    )
    distillation_side: int = key(
        406,
        doc="Side of the square that it sees images as.",
        low=14,
        unit="pixels",
        phase=Phase.START,
        source="VFM-UDA++",
    )

    @property
    def masks_tokens(self) -> bool:
        """Whether patches are hidden from the student."""
        return self.enabled and self.masked_weight > 0 and self.mask_unit == "token"

    @property
    def keeps_things(self) -> bool:
        """Whether features of classes that are things are kept near those of the initial encoder."""
        return self.enabled and self.feature_distance_weight > 0

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "adaptation"):
            return
        check(
            self.mask_unit == "block" or self.masked_images == "target",
            "adaptation.masked_images must be 'target' with adaptation.mask_unit=token",
            self.masked_images,
        )


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ProCAConfig:
    """Prototypical contrast adaptation (ProCA), a base with a training step and stages of its own.

    Stage "source" trains on the source alone; prototypes are then the class means over the whole source. Stage "adapt"
    trains on both domains against the prototypes. Stage "self_training" starts a network afresh and trains it on the
    target alone, with the pseudo-labels of the network that "adapt" ended with. "adapt" has the iterations of the run
    that the other two stages leave. All of it counts with base=proca only.
    """

    source_iterations: int = key(
        20_000,
        doc='Length of stage "source".',
        low=1,
        unit="iterations",
        phase=Phase.START,
        hyperparameter=False,
    )
    source_horizon: int = key(
        31_250,
        doc='Iterations after which the learning rate of stage "source" would be 0; it is stopped before. At least '
        "`source_iterations`.",
        unit="iterations",
        phase=Phase.START,
        hyperparameter=False,
    )
    adapt_lr: float = key(
        2.5e-4,
        doc='Learning rate of stage "adapt"; the other two have `optimizer.lr`.',
        above=0,
        below=math.inf,
        phase=Phase.START,
        hyperparameter=False,
    )
    self_training_iterations: int = key(
        90_000,
        doc='Length of stage "self_training"; 0 leaves it out.',
        low=0,
        unit="iterations",
        phase=Phase.START,
        hyperparameter=False,
    )
    lovasz_weight: float = key(
        0.75,
        doc="Weight of the Lovasz-softmax loss beside the cross-entropy on the source.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        hyperparameter=False,
    )
    feature_weight: float = key(
        1.0,
        doc="Weight of the contrast between pixels and prototypes in the encoder's last features.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        hyperparameter=False,
    )
    output_weight: float = key(
        1.0,
        doc="Weight of the contrast between pixels and prototypes in the logits.",
        low=0,
        below=math.inf,
        phase=Phase.START,
        hyperparameter=False,
    )
    temperature: float = key(
        50.0,
        doc="tau of the contrast with prototypes. As in the published configuration, where it leaves the loss nearly "
        "flat.",
        above=0,
        below=math.inf,
        phase=Phase.START,
        hyperparameter=False,
    )
    logit_threshold: float = key(
        0.9,
        doc="A target pixel takes part when its largest logit, not probability, reaches this.",
        phase=Phase.START,
        hyperparameter=False,
    )
    label_threshold: float = key(
        0.9,
        doc='Upper limit of the confidence that a pseudo-label of stage "self_training" needs.',
        low=0,
        high=1,
        phase=Phase.START,
        hyperparameter=False,
    )
    label_share: float = key(
        0.6,
        doc="Share of a class's target pixels below the confidence that its pseudo-labels need, where that is lower.",
        low=0,
        high=1,
        phase=Phase.START,
        hyperparameter=False,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "proca"):
            return
        check(
            self.source_horizon >= self.source_iterations,
            f"proca.source_horizon must be at least proca.source_iterations ({self.source_iterations})",
            self.source_horizon,
        )
