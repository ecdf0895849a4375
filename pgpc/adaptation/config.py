"""The configuration of the bases: self-training on the target, masking, and ProCA."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pgpc.runtime.checks import check


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptationConfig:
    """Self-training on the target: EMA teacher, pseudo-labels, ClassMix, feature distance, masking."""

    enabled: bool = True
    """Whether the target is used at all; off is the source-only baseline."""
    target_weight: float = 1.0
    """lambda_t of Eq. 6, the weight of the loss on mixed images."""
    ema_decay: float = 0.999
    """alpha of the teacher's exponential moving average, reached from below as min(1 - 1/(t+1), alpha)."""
    confidence: float = 0.968
    """kappa of Eq. 3: the pseudo-label weight is the share of pixels at least this confident."""
    ignore_top: int = 15
    """Rows at the top of a target crop whose pseudo-labels get weight 0 (rectification artifacts)."""
    ignore_bottom: int = 120
    """Rows at the bottom of a target crop whose pseudo-labels get weight 0 (the bonnet of the car)."""
    jitter_probability: float = 0.8
    """Probability that the mixed images of a step are color-jittered."""
    jitter_strength: float = 0.2
    """Half-width of the brightness, contrast, saturation and hue perturbations."""
    blur_probability: float = 0.5
    """Probability that the mixed images of a step are blurred, sigma ~ U(0.15, 1.15) pixels."""
    feature_distance_weight: float = 0.005
    """Weight of the distance between the encoder's last features and those of the frozen initial encoder on thing
    classes; 0 turns it off, which is right where the encoder starts from random weights."""
    feature_distance_share: float = 0.75
    """A cell of the coarse label map counts when one class covers at least this share of it."""
    masked_weight: float = 0.0
    """Weight of the loss on masked images (MIC); 0 turns it off."""
    masked_images: Literal["target", "both"] = "target"
    """Which images are masked: the target ones, after color augmentation of their own, or without any both, every
    second image of the batch a source one (MIC on adverse weather)."""
    mask_block: int = 32
    """Side in pixels of the squares that are masked as a whole."""
    mask_share: float = 0.7
    """Probability that a square is masked."""

    def __post_init__(self) -> None:
        check(
            0 <= self.target_weight < math.inf, "adaptation.target_weight must be finite and >= 0", self.target_weight
        )
        check(0 <= self.ema_decay < 1, "adaptation.ema_decay must lie in [0, 1)", self.ema_decay)
        check(0 < self.confidence < 1, "adaptation.confidence must lie in (0, 1)", self.confidence)
        check(self.ignore_top >= 0, "adaptation.ignore_top must be >= 0", self.ignore_top)
        check(self.ignore_bottom >= 0, "adaptation.ignore_bottom must be >= 0", self.ignore_bottom)
        check(
            0 <= self.jitter_probability <= 1,
            "adaptation.jitter_probability must lie in [0, 1]",
            self.jitter_probability,
        )
        check(0 <= self.jitter_strength <= 0.5, "adaptation.jitter_strength must lie in [0, 0.5]", self.jitter_strength)
        check(0 <= self.blur_probability <= 1, "adaptation.blur_probability must lie in [0, 1]", self.blur_probability)
        check(
            0 <= self.feature_distance_weight < math.inf,
            "adaptation.feature_distance_weight must be finite and >= 0",
            self.feature_distance_weight,
        )
        check(
            0.5 < self.feature_distance_share <= 1,
            "adaptation.feature_distance_share must lie in (0.5, 1]",
            self.feature_distance_share,
        )
        check(
            0 <= self.masked_weight < math.inf, "adaptation.masked_weight must be finite and >= 0", self.masked_weight
        )
        check(self.mask_block >= 1, "adaptation.mask_block must be >= 1", self.mask_block)
        check(0 <= self.mask_share <= 1, "adaptation.mask_share must lie in [0, 1]", self.mask_share)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProCAConfig:
    """Prototypical contrast adaptation (ProCA), a base with a training step and stages of its own.

    Stage "source" trains on the source alone; prototypes are then the class means over the whole source. Stage "adapt"
    trains on both domains against the prototypes. Stage "self_training" starts a network afresh and trains it on the
    target alone, with the pseudo-labels of the network that "adapt" ended with. "adapt" has the iterations of the run
    that the other two stages leave.
    """

    enabled: bool = False
    """Whether this is the base; `adaptation` then gives only the teacher's decay, confidence and `target_weight`, which
    the contrast needs."""
    source_iterations: int = 20_000
    """Iterations of stage "source"."""
    source_horizon: int = 31_250
    """Iterations after which the learning rate of stage "source" would be 0; it is stopped before."""
    adapt_lr: float = 2.5e-4
    """Learning rate of stage "adapt"; the other two have `optimizer.lr`."""
    self_training_iterations: int = 90_000
    """Iterations of stage "self_training"; 0 leaves it out."""
    lovasz_weight: float = 0.75
    """Weight of the Lovasz-softmax loss beside the cross-entropy on the source."""
    feature_weight: float = 1.0
    """Weight of the contrast between pixels and prototypes in the encoder's last features."""
    output_weight: float = 1.0
    """Weight of the contrast between pixels and prototypes in the logits."""
    temperature: float = 50.0
    """tau of the contrast. As in the published configuration, where it leaves the loss nearly flat."""
    logit_threshold: float = 0.9
    """A target pixel takes part when its largest logit, not probability, reaches this."""
    label_threshold: float = 0.9
    """Upper limit of the confidence that a pseudo-label of stage "self_training" needs."""
    label_share: float = 0.6
    """Share of a class's target pixels below the confidence that its pseudo-labels need, where that is lower."""

    def __post_init__(self) -> None:
        check(self.source_iterations >= 1, "proca.source_iterations must be >= 1", self.source_iterations)
        check(
            self.source_horizon >= self.source_iterations,
            f"proca.source_horizon must be at least proca.source_iterations ({self.source_iterations})",
            self.source_horizon,
        )
        check(
            self.self_training_iterations >= 0,
            "proca.self_training_iterations must be >= 0",
            self.self_training_iterations,
        )
        for name in ("adapt_lr", "temperature"):
            check(0 < getattr(self, name) < math.inf, f"proca.{name} must be finite and > 0", getattr(self, name))
        for name in ("lovasz_weight", "feature_weight", "output_weight"):
            check(0 <= getattr(self, name) < math.inf, f"proca.{name} must be finite and >= 0", getattr(self, name))
        for name in ("label_threshold", "label_share"):
            check(0 <= getattr(self, name) <= 1, f"proca.{name} must lie in [0, 1]", getattr(self, name))
