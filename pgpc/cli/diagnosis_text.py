"""The figures of ``pgpc diagnose`` as text for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pgpc.diagnosis.figures import ClassFigures, Diagnosis, GradientFigures


def as_text(checkpoint: str, found: Diagnosis) -> str:
    """Write what was found."""
    first, last = found.steps
    lines = [
        f"{checkpoint}, iteration {found.iteration}: {found.images} target crops of iterations {first} to {last}",
        "",
        f"classes that the teacher predicts (at least {found.least_share:g} % of the pixels): "
        f"{len(found.predicted)} of {len(found.classes)}: {', '.join(found.predicted)}",
        f"mean pseudo-label weight q: {found.q:.3f}",
        "",
        *_of_classes(found.classes),
    ]
    if found.bank_size is not None:
        lines += ["", *_of_memory(found)]
    if found.gradients is not None:
        lines += ["", *_of_gradients(found.gradients)]
    return "\n".join([*lines, *(["", *found.left_out] if found.left_out else [])]) + "\n"


def _of_classes(classes: Sequence[ClassFigures]) -> list[str]:
    """Return a line per class: what is predicted, what is selected, and what is right of it."""
    rows = [["%", "predicted", "labeled", "right", "anchors", "anchors right", "cosine own", "nearest other"]]
    total = sum(found.anchors or 0 for found in classes)
    for found in classes:
        share = None if not total or found.anchors is None else 100 * found.anchors / total
        numbers = (found.predicted, found.labeled, found.right, share, found.purity)
        rows.append([found.name, *map(_number, numbers), *map(_number, (found.cosine_own, found.cosine_other))])
    lines = _aligned(rows)
    judged = [found.false_negatives for found in classes if found.false_negatives]
    if judged:
        ranks = list(judged[0])
        lines += ["", "target negatives that are of the class after all, in %, by r"]
        of_classes = [[f.name, *(_number((f.false_negatives or {}).get(r)) for r in ranks)] for f in classes]
        lines += _aligned([["", *(f"r = {r}" for r in ranks)], *of_classes])
    return lines


def _of_memory(found: Diagnosis) -> list[str]:
    """Return a line per class: rows, age and stale rows of each bank."""
    names = list(found.classes[0].rows)
    head = [cell for name in names for cell in (name.replace("_", " "), "age", "stale")]
    rows = [["rows", *head]]
    for of_class in found.classes:
        cells = [
            cell
            for name in names
            for cell in (
                str(of_class.rows[name]),
                _number(of_class.age[name], 0),
                _number(of_class.stale[name], 0),
            )
        ]
        rows.append([of_class.name, *cells])
    return [
        f"memory bank, at most {found.bank_size} rows a class; about how many iterations old the oldest is; about how "
        "many % are from before the start",
        *_aligned(rows),
    ]


def _of_gradients(gradients: GradientFigures) -> list[str]:
    """Return what each loss sends into the encoder."""
    norms = ", ".join(f"{name} {statistics.mean(values):.3g}" for name, values in gradients.norms.items())
    lines = [
        f"norms of the losses' gradients in the encoder: {norms}",
        f"share of the contrast in their sum: {statistics.mean(gradients.share):.1f} %",
    ]
    if gradients.cosine is not None:
        mean, spread = statistics.mean(gradients.cosine), statistics.pstdev(gradients.cosine)
        lines.append(f"cosine of the contrast's gradient with that of the true labels: {mean:+.2f} ± {spread:.2f}")
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([f"{row[0]:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
