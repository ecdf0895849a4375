"""The paper's tables as data: which configs their rows stand for, and the figures that the paper prints.

One table is nobody's: what adaptation adds on encoders that a user names, :func:`encoder_table`.

Figures are mIoU in percent on the paper's own tasks, but for Table 5, which has frames per second. A row is compared
with its base, the same training without the contrast, which every table here has, also where the paper's has not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgpc.config import Config, override
from pgpc.recipes.recipe import on_task_of
from sweeps.definition.space import REFERENCE

Changes = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row: a config, given by what it changes, and what the paper has for it."""

    label: str
    changes: Changes = field(default_factory=dict)
    preset: str | None = None
    """Base of :mod:`pgpc.presets` that the row is on; None for the sweep's own preset."""
    pgpc: bool = False
    """Whether a row on a base has the contrast."""
    figure: float | None
    """What the paper prints; None where it prints nothing."""
    base: str | None
    """Label of the row that this one is compared with; None for a row that is a base itself."""
    note: str = ""
    """What a reader must know to compare it."""

    @property
    def columns(self) -> dict[str, Any]:
        """What the row changes as values of columns: numbers, texts and truth values."""
        return {key: ",".join(v) if isinstance(v, tuple) else v for key, v in self.changes.items()}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper, or one column of figures of Table 5."""

    number: int
    title: str
    rows: tuple[TableRow, ...]
    metric: str = "mIoU"
    """Column of results.parquet that the rows are compared in."""
    ratio: bool = False
    """Rows are compared with their base by quotient instead of by difference."""
    note: str = ""
    """What a reader must know to compare."""

    @property
    def notes(self) -> str:
        """What a reader must know to compare the table and its rows; empty where that is nothing."""
        return " ".join(filter(None, (self.note, *(row.note for row in self.rows))))

    def row(self, label: str) -> TableRow:
        """Return the row with this label."""
        return next(row for row in self.rows if row.label == label)


BASE = "without contrast"
INFERENCE = "inference_images_per_second"
"""Column of Table 5 that is measured after the runs; the other is the trainings' own."""
_DAFORMER = 68.3  # on GTA5 to Cityscapes, Tables 1, 6, 9


def _ablation(
    number: int, title: str, rows: Mapping[str, tuple[Changes, float]], *, base: str = BASE, note: str = ""
) -> Table:
    """Return a table whose rows vary the contrast of DAFormer, with the base as its first row."""
    first = TableRow(label=base, changes=REFERENCE, figure=_DAFORMER, base=None)
    rest = (TableRow(label=k, changes=changes, figure=figure, base=base) for k, (changes, figure) in rows.items())
    return Table(number=number, title=title, rows=(first, *rest), note=note)


def _pairs(number: int, title: str, figures: Mapping[str, tuple[float | None, float | None]], **others: Any) -> Table:
    """Return a table of bases, each without and with PGPC."""
    rows = []
    for base, (without, with_pgpc) in figures.items():
        name = _NAMES[base]
        note = _MULTI_SCALE[without] if base == "proca" and without is not None else ""
        rows.append(TableRow(label=name, preset=base, figure=without, base=None, note=note))
        rows.append(TableRow(label=f"PGPC+{name}", preset=base, pgpc=True, figure=with_pgpc, base=name))
    return Table(number=number, title=title, rows=tuple(rows), **others)


_NAMES = {
    "proca": "ProCA",
    "daformer": "DAFormer",
    "mic-daformer": "MIC(DAFormer)",
    "hrda": "HRDA",
    "mic-hrda": "MIC(HRDA)",
}
BASES = tuple(_NAMES)
"""The paper's bases, by their names in :mod:`pgpc.presets`."""

_MULTI_SCALE = {
    figure: f"The paper's {figure} for ProCA is of images at six scales and mirrored, as ProCA's public code tests; at "
    f"one scale, as here unless it is set otherwise, that code has {one_scale}. --set "
    "evaluation.scales=0.5,0.75,1,1.25,1.5,1.75 --set evaluation.flip=true tests all rows in its way. How PGPC+ProCA "
    "was tested is not printed."
    for figure, one_scale in ((56.3, 55.1), (53.0, 52.0))
}
"""What is to be said of the figures of ProCA, whose rows alone are of several scales."""

_SOURCE, _TARGET, _BOTH = ("source",), ("target",), ("source", "target")


def _samples(positive: str, negative: tuple[str, ...]) -> Changes:
    return {"contrast.positive": f"{positive}_prototype", "contrast.negative": negative}


def _reliable(by: str, per: str) -> Changes:
    return {"contrast.reliable_by": by, "contrast.reliable_per": per}


TABLES: Sequence[Table] = (
    _pairs(
        1,
        "GTA5 to Cityscapes",
        {
            "proca": (56.3, 61.3),
            "daformer": (68.3, 71.8),
            "mic-daformer": (70.6, 72.3),
            "hrda": (73.8, 75.0),
            "mic-hrda": (75.9, 76.5),
        },
    ),
    _pairs(
        2,
        "SYNTHIA to Cityscapes",
        {
            "proca": (53.0, 57.8),
            "daformer": (60.9, 63.7),
            "mic-daformer": (62.2, 64.2),
            "hrda": (65.8, 67.7),
            "mic-hrda": (67.3, 68.4),
        },
        metric="mIoU16",
        note="mIoU over the 16 classes that SYNTHIA has.",
    ),
    _pairs(
        3,
        "Cityscapes to Dark Zurich",
        {
            "daformer": (53.8, 54.7),
            "mic-daformer": (None, 55.7),
            "hrda": (55.9, 57.2),
            "mic-hrda": (60.2, 61.3),
        },
        note="The paper's figures are of the test split, whose labels are not public.",
    ),
    _pairs(
        4,
        "Cityscapes to ACDC",
        {
            "daformer": (55.4, 56.5),
            "mic-daformer": (None, 64.2),
            "hrda": (68.0, 64.6),
            "mic-hrda": (70.4, 71.4),
        },
        note="The paper's figures are of the test split, whose labels are not public.",
    ),
    _pairs(
        5,
        "Training speed (frames/s)",
        {"daformer": (0.8, 0.6), "hrda": (0.4, 0.3)},
        metric="images_per_second",
        ratio=True,
        note="Compare the ratios: the machines differ. Source and target images are counted.",
    ),
    _pairs(
        5,
        "Inference speed (frames/s)",
        {"daformer": (8.9, 2.5), "hrda": (0.5, 0.5)},
        metric=INFERENCE,
        ratio=True,
        note="Compare the ratios: the machines differ. The projection head is not part of inference.",
    ),
    _ablation(
        6,
        "Positives: prototypes of the source (SP) or target (TP); negatives: pixels of the source (SN), target (TN)",
        {
            "SP+SN+TN": (_samples("source", _BOTH), 71.8),
            "SP+SN": (_samples("source", _SOURCE), 70.8),
            "SP+TN": (_samples("source", _TARGET), 70.0),
            "TP+SN+TN": (_samples("target", _BOTH), 71.0),
            "TP+SN": (_samples("target", _SOURCE), 70.1),
            "TP+TN": (_samples("target", _TARGET), 69.8),
        },
    ),
    _ablation(
        7,
        "How reliable pixels are selected",
        {
            "global entropy": (_reliable("entropy", "image"), 71.8),
            "global confidence": (_reliable("confidence", "image"), 70.9),
            "class-wise entropy": (_reliable("entropy", "class"), 70.9),
            "class-wise confidence": (_reliable("confidence", "class"), 70.3),
        },
        note="The paper prints the best of several shares of each method; here all have the config's contrast.eta.",
    ),
    _ablation(
        8,
        "Weight lambda_t of the loss on the target",
        {
            str(weight): ({"adaptation.target_weight": weight}, figure)
            for weight, figure in {0.5: 61.25, 0.8: 61.19, 1.0: 71.8, 1.2: 67.49, 1.5: 67.69}.items()
        },
    ),
    _ablation(
        9,
        "Weight lambda_c of the contrastive loss",
        {
            str(weight): ({"contrast.weight": weight}, figure)
            for weight, figure in {0.05: 70.4, 0.1: 71.8, 0.2: 71.0, 0.3: 70.5, 0.4: 70.2}.items()
        },
        base="0",
    ),
    _ablation(
        10,
        "Numbers M of anchors and N of negatives",
        {
            f"M {anchors}, N {negatives}": ({"contrast.anchors": anchors, "contrast.negatives": negatives}, figure)
            for anchors, negatives, figure in (
                (256, 128, 69.9),
                (256, 256, 70.0),
                (256, 512, 71.8),
                (128, 512, 70.0),
                (512, 512, 70.3),
            )
        },
    ),
    _ablation(
        11,
        "Share eta of reliable pixels",
        {
            str(share): ({"contrast.eta": share}, figure)
            for share, figure in {0.4: 70.2, 0.5: 71.8, 0.6: 70.5, 0.7: 69.8}.items()
        },
        base="0",
        note="The share of the first row is not printed legibly; its figure is the base's, so it is taken for 0.",
    ),
    _ablation(
        12,
        "Rank r from which on a target pixel is a negative",
        {str(r): ({"contrast.r": r}, figure) for r, figure in {3: 69.7, 4: 71.8, 5: 69.6, 6: 68.7}.items()},
    ),
)

ENCODERS = 0
"""Number of the table of encoders, which no paper has."""
_SOURCE_ALONE: Changes = {"adaptation.enabled": False, **REFERENCE}


def encoder_table(encoders: Sequence[str]) -> Table:
    """Return the table of what adaptation adds on encoders: for each the source alone, self-training, and PGPC.

    All else is that of the sweep's config: what it does with images of the target, the contrast aside, is its base.
    Each row is compared with the one above it.

    Args:
        encoders: Names of encoders, as ``model.encoder`` has them.
    """
    rows = []
    for encoder in encoders:
        before = None
        for what, changes in (("source only", _SOURCE_ALONE), ("self-training", REFERENCE), ("PGPC", {})):
            label = f"{encoder}, {what}"
            rows.append(TableRow(label=label, changes={"model.encoder": encoder, **changes}, figure=None, base=before))
            before = label
    note = "Each row is compared with the one above it, of the same encoder."
    return Table(number=ENCODERS, title="What adaptation adds", rows=tuple(rows), note=note)


def row_name(number: int, label: str) -> str:
    """Return how a row is called among those of all tables.

    Args:
        number: Number of its table.
        label: Its label.
    """
    return label if number == ENCODERS else f"{number}: {label}"


NUMBERS = tuple(dict.fromkeys(table.number for table in TABLES))
TABLES_OF_BASES = tuple(number for number in NUMBERS if number <= 5)
"""Tables 1 to 5, each with several bases."""
ABLATIONS = tuple(number for number in NUMBERS if number > 5)
"""Tables 6 to 12, all on one base."""


def select(numbers: Sequence[int], bases: Sequence[str] = BASES) -> list[Table]:
    """Return the tables with these numbers; of Tables 1 to 5 with the rows on these bases.

    Raises:
        ValueError: A table of bases has none of them.
    """
    chosen = []
    for table in TABLES:
        if table.number not in numbers:
            continue
        rows = tuple(row for row in table.rows if row.preset is None or row.preset in bases)
        if not rows:
            raise ValueError(f"Table {table.number} must have one of the bases, but got {', '.join(bases)}.")
        chosen.append(dataclasses.replace(table, rows=rows))
    return chosen


def row_config(row: TableRow, config: Config, changes: Changes) -> Config:
    """Return the config of a row.

    Args:
        row: A row of a table.
        config: The sweep's own config, of which rows of Tables 1 to 5 take the task alone.
        changes: What the user changes in every config.

    Raises:
        ValueError: The row and the changes do not go together; the message names the row.
    """
    try:
        if row.preset is not None:
            config = on_task_of(config, base=row.preset, pgpc=row.pgpc, settings=changes)
        return override(config, row.changes)
    except ValueError as error:
        raise ValueError(f"Row {row.label!r}: {error}") from None


def table_configs(tables: Sequence[Table], config: Config, changes: Changes) -> dict[str, Config]:
    """Return every config that the tables need, once, under the name of the first row that needs it.

    Args:
        tables: Tables of :func:`select`.
        config: The sweep's own config.
        changes: What the user changes in every config.

    Raises:
        ValueError: See :func:`row_config`.
    """
    found: dict[Config, str] = {}
    for table in tables:
        for row in table.rows:
            found.setdefault(row_config(row, config, changes), row_name(table.number, row.label))
    return {name: config for config, name in found.items()}
