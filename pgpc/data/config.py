"""The configuration of the data: where images come from, how they reach the network, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pgpc.data.normalization import IMAGENET_PIXELS, Normalization
from pgpc.data.pixel_form import MAX_BANDS, RGB, PixelForm
from pgpc.data.streets.config import StreetsConfig
from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.fields import Phase, check_fields, documented, key

STREETS_SOURCE = "streets:source"
STREETS_TARGET = "streets:target"
LABELED_SPLIT = "split:"
"""What a value of ``DataConfig.target_labels`` begins with that names a split of the target."""
OnlineCriterion: TypeAlias = Literal[
    "source_mIoU",
    "entropy",
    "infomax",
    "corrc",
    "snd",
    "bnm",
    "teacher_agreement",
    "augmentation_agreement",
    "mixval",
]
"""A criterion that an evaluation computes without labels of the target; see `pgpc.evaluation.criteria`."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where images come from and how they reach the network."""

    source: str = key(
        STREETS_SOURCE,
        doc='Folder of packed shards of the labeled domain, or its address on S3 (s3://..); or "streets:source", one '
        "side of the embedded pair.",
        phase=Phase.START,
        place=True,
        hyperparameter=False,
    )
    target: str = key(
        STREETS_TARGET,
        doc='The same of the unlabeled domain, with its train split and the one that is scored; or "streets:target".',
        phase=Phase.START,
        place=True,
        hyperparameter=False,
    )
    eval_split: str | None = key(
        "val",
        doc="Labeled split of the target that is scored; None scores nothing, for a target without labels.",
        phase=Phase.START,
        acts="from the first evaluation on, in the scores alone; the curve of one run is of one split",
        hyperparameter=False,
    )
    target_labels: str | None = key(
        None,
        doc="The few images of the target whose labels are trained on, beside all others without: a file that lists "
        'images of its train split, one name a line, or "split:train" and the like for all labeled images of a split. '
        "Each step takes `training.batch_size` of them, and adds their cross-entropy to the source's. None reads no "
        "label of the target. Images that are scored are refused.",
        phase=Phase.START,
        place=True,
        hyperparameter=False,
    )
    holdout: int = key(
        0,
        doc="Labeled source images that are held out of training, chosen alike in all runs, to measure the criterion "
        "source_mIoU; 0 holds out none. They take no part in it: neither drawn nor counted for rare classes, nor in "
        "any bank or prototype. Each costs an evaluation what an image of the scored split does.",
        low=0,
        unit="images",
        phase=Phase.START,
        hyperparameter=False,
    )
    streets: StreetsConfig = field(default_factory=StreetsConfig)
    bands: int = key(
        3,
        doc="Bands of the images of both domains, as they were packed. Pretrained weights of an encoder are for three: "
        "those of its first convolution are then repeated in their order for the bands, and scaled by 3 / bands; for "
        "one band they are summed. Color jitter is for RGB of 8 bits, and off for all else.",
        low=1,
        high=MAX_BANDS,
        unit="bands",
        phase=Phase.START,
        hyperparameter=False,
    )
    bits: Literal[8, 16] = key(
        8,
        doc="Bits of each band, as they were packed. Values of 16 bits are used as they are in the files: neither "
        "scaled nor clipped, but normalized by `mean` and `std`.",
        phase=Phase.START,
        hyperparameter=False,
    )
    mean: tuple[float, ...] | None = key(
        None,
        doc="What is subtracted from each band, in the units of the files, in both domains and in prediction. None "
        "takes that of ImageNet for RGB of 8 bits; for all else the mean over the source's train split, which packing "
        "has found and a run writes here.",
        phase=Phase.START,
        hyperparameter=False,
    )
    std: tuple[float, ...] | None = key(
        None,
        doc="What each band is then divided by; None as for `mean`, the standard deviation.",
        above=0,
        phase=Phase.START,
        hyperparameter=False,
    )
    source_size: tuple[int, int] = key(
        (1280, 720),
        doc="Width and height of the box that source images are resized to; `fit` says how.",
        low=32,
        rule="must be (width, height), each at least {low}",
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    target_size: tuple[int, int] = key(
        (1024, 512),
        doc="The same for target images, in training and in evaluation.",
        low=32,
        rule="must be (width, height), each at least {low}",
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    fit: Literal["inside", "exact"] = key(
        "inside",
        doc="How an image meets its box: inside it with its aspect ratio kept, or squashed to exactly its size "
        "(ProCA).",
        phase=Phase.START,
        hyperparameter=False,
    )
    interpolation: Literal["bilinear", "bicubic"] = key(
        "bilinear",
        doc="How images are resized; labels always take the nearest pixel.",
        phase=Phase.START,
        hyperparameter=False,
    )
    crop: int | None = key(
        512,
        doc="Side of the square training crop; None trains on whole images.",
        low=32,
        multiple_of=32,
        rule="must be a positive multiple of {multiple_of} (the encoder's coarsest stride), or None",
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    target_margins: tuple[int, int, int, int] = key(
        (0, 0, 0, 0),
        doc="Rows and columns at the top, bottom, left and right of a target image, after resizing and before "
        "cropping, whose pseudo-labels get weight 0; `adaptation.ignore_top` and `ignore_bottom` mean the rows of a "
        "crop instead.",
        low=0,
        rule="must be (top, bottom, left, right), each >= {low}",
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
        source="HRDA",
    )
    crop_max_share: float = key(
        0.75,
        doc="A source crop in which one class covers this share or more is redrawn, up to 10 times; 1 turns it off.",
        above=0,
        high=1,
        phase=Phase.START,
        hyperparameter=False,
    )
    rare_class_sampling: bool = key(
        True,
        doc="Draw source images by class, rare classes more often.",
        phase=Phase.START,
        hyperparameter=False,
        source='DAFormer, section "Rare Class Sampling"',
    )
    rare_class_temperature: float = key(
        0.01,
        doc="Temperature T of P(c) = softmax((1 - f_c) / T); smaller means rarer classes are drawn more often.",
        above=0,
        phase=Phase.START,
        hyperparameter=False,
        source='DAFormer, section "Rare Class Sampling"',
    )
    rare_class_min_pixels: int = key(
        3000,
        doc="An image is in the pool of class c when it holds more than this many pixels of c at native size.",
        low=0,
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    rare_class_min_crop_ratio: float = key(
        0.5,
        doc="A crop drawn for class c must hold more than this times `rare_class_min_pixels`; up to 10 redraws.",
        low=0,
        phase=Phase.START,
        hyperparameter=False,
    )
    loader_workers: int | None = key(
        None,
        doc="Processes that decode images beside the training process; 0 decodes in the training process, and None "
        "takes as many as it may use CPUs beside its own, at least 1 and at most 4.",
        low=0,
        unit="processes",
        phase=Phase.NEVER,
        hyperparameter=False,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "data"):
            return
        check(
            self.crop is not None or self.fit == "exact",
            "data.crop=None needs data.fit='exact', since the whole images of a batch must have one size",
            self.fit,
        )
        check(
            self.target_labels not in ("", LABELED_SPLIT),
            "data.target_labels must be a file that lists images, split:NAME, or none",
            self.target_labels,
        )
        check(
            (self.mean is None) == (self.std is None)
            and all(len(values) == self.bands for values in (self.mean, self.std) if values is not None),
            f"data.mean and data.std must both have a number for each of the data.bands ({self.bands}), or be None",
            (self.mean, self.std),
        )
        top, bottom, left, right = self.target_margins
        check(
            top + bottom < self.target_size[1] and left + right < self.target_size[0],
            "data.target_margins must be (top, bottom, left, right), and leave pixels of data.target_size",
            self.target_margins,
        )

    @property
    def pixels(self) -> PixelForm:
        """The form that all images must have."""
        return PixelForm(self.bands, self.bits)

    @property
    def normalization(self) -> Normalization:
        """How images are normalized; of other than RGB of 8 bits it must have been found, which a run does first."""
        if self.mean is not None and self.std is not None:
            return Normalization(self.mean, self.std)
        check(
            self.pixels == RGB,
            f"data.mean and data.std must be given for images of {self.pixels}",
            self.mean,
            "A run takes them from its source; set them, or use the config of a run.",
        )
        return IMAGENET_PIXELS


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How an image is segmented when it is scored, and what is measured beside the scores."""

    window: int | None = key(
        None,
        doc="Side of the square windows that an image is segmented in; None takes it as a whole.",
        low=32,
        multiple_of=32,
        unit="pixels",
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
    )
    window_stride: int = key(
        512,
        doc="Distance between neighboring windows, at most `window`; the last is moved inwards, and logits are "
        "averaged where windows overlap.",
        low=1,
        unit="pixels",
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
    )
    window_batch: int = key(
        1,
        doc="Windows that go through the network at once: more are faster and take more memory.",
        low=1,
        unit="windows",
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
    )
    scales: tuple[float, ...] = key(
        (1.0,),
        doc="Sizes that an image is segmented at, as multiples of its own after resizing; with several, and with "
        "`flip`, the class probabilities are averaged (test-time augmentation). Criteria are measured without.",
        low=0.25,
        high=4,
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
        source="Chen et al., TPAMI 2018 (DeepLab), multi-scale inputs",
    )
    flip: bool = key(
        False,
        doc="Whether an image is also segmented mirrored, at every scale; see `scales`.",
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
    )
    criteria_images: int = key(
        16,
        doc="Images of the target's train split that the criteria are measured on at every evaluation, without their "
        "labels and the same in all runs; all where there are fewer, and 0 measures none. Each costs three and a half "
        "times what it costs to segment it.",
        low=0,
        unit="images",
        phase=Phase.NEVER,
        reported=True,
        hyperparameter=False,
    )
    report_share: float = key(
        0.0,
        doc="Share of the scored images that are kept out of the choice between runs: mIoU and the IoU of the classes "
        "are over the others, report/mIoU is over these. Which ones is the same in all runs; 0 keeps out none.",
        low=0,
        below=1,
        phase=Phase.START,
        acts="from the first evaluation on, in the scores alone; the curve of one run is of one choice of images",
        hyperparameter=False,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "evaluation"):
            return
        check(
            self.window_stride <= (self.window or self.window_stride),
            f"evaluation.window_stride must lie in [1, evaluation.window] ({self.window}), or pixels are left out",
            self.window_stride,
        )
        check(
            len(self.scales) == len({*self.scales}) > 0,
            "evaluation.scales must be one number or several different ones",
            self.scales,
            "1 is the image's own size.",
        )

    @property
    def augments(self) -> bool:
        """Whether an image is segmented in more forms than as it is."""
        return self.flip or self.scales != (1.0,)
