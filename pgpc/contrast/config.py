"""The configuration of the contrast. Plain data: importing it does not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.fields import Phase, check_fields, documented, key


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastConfig:
    """The paper's contribution: anchors, positives, negatives and InfoNCE (Eqs. 5-11)."""

    enabled: bool = key(
        True,
        doc="Whether the contrastive loss is part of the training; off is the base.",
        phase=Phase.CONDITIONAL,
        acts="when the memory bank begins to fill; with base=proca from the first iteration on, since its teacher is "
        "there for the contrast only",
    )
    r: int = key(
        4,
        doc="A target pixel is a negative of class c when c is not among the teacher's r most probable classes. "
        "Smaller than model.num_classes.",
        low=1,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 11; Table 12",
        remedy="The paper uses 4.",
    )
    eta: float = key(
        0.5,
        doc="Share of target pixels, those of lowest entropy, that may become anchors.",
        above=0,
        high=1,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eqs. 7 and 8; Table 11",
        remedy="The paper uses 0.5.",
    )
    weight: float = key(
        0.1,
        doc="lambda_c, the weight of the contrastive loss.",
        low=0,
        below=math.inf,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 6; Table 9",
    )
    anchors: int = key(
        256,
        doc="M, the anchors per class and step, drawn with replacement.",
        low=1,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 5; Table 10",
    )
    negatives: int = key(
        512,
        doc="N, the negatives per anchor, drawn with replacement.",
        low=1,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 5; Table 10",
    )
    temperature: float = key(
        0.5,
        doc="tau, what similarities are divided by.",
        above=0,
        below=math.inf,
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 5",
    )
    start: int = key(
        20_000,
        doc="First iteration, counted from 0, with the loss.",
        low=0,
        unit="iterations",
        phase=Phase.TRUNK_LENGTH,
    )
    fill: int = key(
        500,
        doc="The memory bank is filled during this many iterations before `start`.",
        low=0,
        unit="iterations",
        phase=Phase.TRUNK_LENGTH,
    )
    dim: int = key(
        256,
        doc="Length of the projected, L2-normalized pixel features.",
        low=1,
        unit="channels",
        # The head is drawn after the network, is touched by nothing before the contrast, and is no part of the trunk.
        phase=Phase.CONTRAST,
    )
    hidden: int = key(
        256,
        doc="Width of the projection head's hidden layer.",
        low=1,
        unit="channels",
        phase=Phase.CONTRAST,
    )
    maps: Literal["all", "last"] = key(
        "all",
        doc='Of which maps of the encoder pixels are projected, and so where anchors and negatives lie: "all", brought '
        'to the size of the finest, at stride 4, or "last", that of the last block by itself, at stride 14 or 16 of a '
        "plain vision transformer, 32 of a hierarchical encoder.",
        phase=Phase.CONTRAST,
    )
    bank_size: int = key(
        4096,
        doc="Rows that the memory bank keeps per class; the oldest are overwritten.",
        low=1,
        high=2**18,
        high_rule="must be at most {high}, up to which prototypes are exact",
        unit="rows",
        phase=Phase.CONTRAST,
    )
    quota: int = key(
        256,
        doc="Most rows that one step adds per class, over all processes; at most `bank_size`.",
        low=1,
        unit="rows",
        phase=Phase.CONTRAST,
        adjustable=True,
    )
    pool: int = key(
        4096,
        doc="Rows per class from which the anchors of one step draw their negatives; drawn from the whole memory bank.",
        low=1,
        unit="rows",
        phase=Phase.CONTRAST,
        adjustable=True,
    )
    negatives_per: Literal["anchor", "class"] = key(
        "anchor",
        doc='What N negatives are drawn for: each "anchor", from the pool, as the paper does; or once for each '
        '"class", from the whole memory bank, and shared by its anchors: the same negatives on average, at a fraction '
        "of the time.",
        phase=Phase.CONTRAST,
    )
    family: Literal["hybrid", "pixel_to_pixel", "pixel_to_prototype"] = key(
        "hybrid",
        doc='What an anchor is drawn to and pushed from: "hybrid", the paper\'s, to a prototype and from pixels; or, '
        "the two that it argues against, to and from pixels, and to and from prototypes.",
        phase=Phase.CONTRAST,
        source="Fig. 1",
    )
    positive: Literal["source_prototype", "target_prototype"] = key(
        "source_prototype",
        doc='Which domain\'s memory bank the prototype is the mean of (SP and TP in Table 6); in "pixel_to_pixel" the '
        'positives are drawn from that bank, and in "pixel_to_prototype" the negatives are its other means.',
        phase=Phase.CONTRAST,
        source="Eq. 9; Table 6",
    )
    negative: tuple[Literal["source", "target"], ...] = key(
        ("source", "target"),
        doc="Where negatives come from: source pixels (SN in Table 6), target pixels (TN), or both, half and half; "
        'ignored in "pixel_to_prototype".',
        phase=Phase.CONTRAST,
        source="Eqs. 10 and 11; Table 6",
    )
    source_negatives: Literal["class", "pixel"] = key(
        "class",
        doc='What source negatives are uniform over: "class", the rows that other classes have in the memory bank, as '
        'many of each once it is full; or "pixel", the source pixels of other classes that training has shown since '
        "the memory bank began to fill, as the equation reads, so that frequent classes give most. Ignored where no "
        "source pixel is a negative.",
        phase=Phase.CONTRAST,
        source="Eq. 10",
    )
    average: Literal["valid", "all"] = key(
        "valid",
        doc='What the sum over classes is divided by: "valid", the classes that have anchors, a positive and '
        'negatives, or "all" C, as the equation is written.',
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Eq. 5",
    )
    fill_trains_head: bool = key(
        False,
        doc="Whether the projection head learns from the contrast while the memory bank fills, by itself: no gradient "
        "reaches the encoder before `start`. Off, rows that are enqueued by then come from random weights, and stay in "
        "the banks of rare classes for long. Not with base=proca.",
        phase=Phase.CONTRAST,
    )
    clear_at_start: bool = key(
        False,
        doc="Whether the memory bank is emptied at `start`, before the images of that iteration are enqueued, so that "
        "what was enqueued before is no part of the loss.",
        phase=Phase.CONTRAST,
    )
    head_warmup: int = key(
        0,
        doc="Iterations in which the learning rate of the projection head, untrained until then, rises linearly; they "
        "begin at `start`, or where the memory bank begins to fill with `fill_trains_head`. 0 starts with the full "
        "one.",
        low=0,
        unit="iterations",
        phase=Phase.CONTRAST,
    )
    anchor_view: Literal["target", "mixed"] = key(
        "target",
        doc="Anchors are the student's features of the clean target image (one more pass), or of the mixed image.",
        phase=Phase.CONDITIONAL,
        acts="when the memory bank begins to fill; with adaptation.target_weight=0 from the first iteration on, since "
        "images are then mixed for the anchors only",
    )
    clean_statistics: Literal["updated", "frozen"] = key(
        "updated",
        doc="Whether the extra pass of the clean target images moves the running statistics of the encoder's batch "
        'norms towards the target, "updated", as any other pass does, or leaves them "frozen". They count in '
        "evaluation only: both train the same weights, so that what the contrast gains is seen apart from what "
        "statistics of the target gain by themselves (AdaBN). Of no effect on encoders without batch norm and on "
        "anchors of the mixed images; not with base=proca, which has no extra pass.",
        phase=Phase.CONTRAST,
    )
    source_from: Literal["teacher", "student"] = key(
        "teacher",
        doc='Whose encoder the memory bank has its source pixels from, projected by the teacher\'s head: the "teacher"'
        "'s (one more pass), as the paper has it, or the \"student\"'s, which sees the source images anyway, with its "
        "dropout and, in ProCA, in other colors; ignored where nothing reads source pixels.",
        phase=Phase.CONTRAST,
    )
    reliable_by: Literal["entropy", "confidence"] = key(
        "entropy",
        doc="What ranks target pixels by reliability.",
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Table 7",
    )
    reliable_per: Literal["image", "batch", "class"] = key(
        "image",
        doc="Over what the share `eta` is taken: each image, all images of the step, or each pseudo-class of an image.",
        phase=Phase.CONTRAST,
        adjustable=True,
        source="Table 7",
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "contrast"):
            return
        check(
            self.quota <= self.bank_size,
            f"contrast.quota must not exceed contrast.bank_size ({self.bank_size})",
            self.quota,
        )
        check(
            len(self.negative) > 0 and len(set(self.negative)) == len(self.negative),
            "contrast.negative must name 'source', 'target' or both, each once",
            self.negative,
        )
