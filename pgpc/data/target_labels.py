"""The few images of the target whose labels are trained on: which they are, and that none of them is scored.

Semi-supervised adaptation: ``data.target_labels`` names a split of the target, or a file that lists images of its train
split. No other label of the target is read in training.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgpc.data.config import LABELED_SPLIT
from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.reader import Shards
from pgpc.runtime.files import expand_user, read_list

_OUTLINE = 256


def split_of(named: str) -> str:
    """Return the split of the target that has the images which ``data.target_labels`` names."""
    return named.removeprefix(LABELED_SPLIT) if named.startswith(LABELED_SPLIT) else "train"


def listed_names(named: str) -> list[str]:
    """Return the names of images that a file lists; none where a split is named.

    Raises:
        ValueError: The file lists none, or cannot be read.
    """
    if named.startswith(LABELED_SPLIT):
        return []
    try:
        return read_list(expand_user(named))
    except OSError as error:
        raise ValueError(
            f"data.target_labels must be {LABELED_SPLIT}NAME or a file that lists images, but {named!r} cannot be read "
            f"({error.strerror}). For all labeled images of the train split set {LABELED_SPLIT}train."
        ) from error


def choose_labeled(split: Shards, named: str) -> Shards:
    """Return the images whose labels are used.

    Args:
        split: The split that :func:`split_of` names.
        named: The value of ``data.target_labels``. Of a split that is named all images with labels are taken; of images
            that are listed each must have one.

    Raises:
        ValueError: No image of the split has a label, or one that is listed has none or is none.
    """
    listed = set(listed_names(named))
    if not listed:
        if not split.num_labeled:
            raise ShardError(
                f"data.target_labels must name images with labels, but none of split {split.split!r} of {split.folder} "
                "has any. Pack the labels too, or set data.target_labels=none."
            )
        return split.take(split.labeled_rows)
    unknown = sorted(listed - set(split.names))
    if unknown:
        raise ShardError(
            f"{named} must list images of split {split.split!r} of {split.folder} by their names there, such as "
            f"{split.names[0]!r}, but {len(unknown)} of its {len(listed)} names are none: {unknown[0]!r} first."
        )
    chosen = split.take([row for row, name in enumerate(split.names) if name in listed])
    chosen.check_labeled()
    return chosen


def check_unscored(labeled: Shards, scored: Shards) -> None:
    """Refuse to train on labels of images that are scored.

    Args:
        labeled: The images whose labels are trained on.
        scored: The images that are scored, those included that are only reported.

    Raises:
        ShardError: There is such an image; the message names the first.
    """
    for name, other in shared_images(labeled, scored):
        raise ShardError(
            f"Labels that are trained on must not be scored, but data.target_labels (split {labeled.split!r} of "
            f"{labeled.folder}) and the scored split {scored.split!r} both have {name!r}"
            f"{'' if other == name else f', there under the name {other!r}'}: the score would be that of images that "
            "were learned by heart. Take it out of one of them."
        )


def shared_images(labeled: Shards, others: Shards) -> Iterator[tuple[str, str]]:
    """Yield the two names of each image that is in both, byte for byte; one that was encoded anew is another."""
    rows: dict[tuple[int, bytes], list[int]] = {}
    for row in range(len(labeled.names)):
        rows.setdefault(_outline(labeled.image_bytes(row)), []).append(row)
    for row, name in enumerate(others.names):
        image = others.image_bytes(row)
        for known in rows.get(_outline(image), ()):
            if image == labeled.image_bytes(known):
                yield labeled.names[known], name


def same_named_image(first: Shards, second: Shards) -> str | None:
    """Return the name of an image that two sets of images have under one name; None where there is none.

    Only what has one name is looked at, and of that a few bytes, so that large data sets are not read for it.
    """
    rows = {name: row for row, name in enumerate(first.names)}
    for row, name in enumerate(second.names):
        if name in rows and _outline(first.image_bytes(rows[name])) == _outline(second.image_bytes(row)):
            return name
    return None


def _outline(image: memoryview) -> tuple[int, bytes]:
    """Return what tells most images apart without reading them: the length, and some bytes of the middle."""
    middle = len(image) // 2
    return len(image), bytes(image[middle : middle + _OUTLINE])


def without_labeled(target: Shards, labeled: Shards) -> Shards | None:
    """Return the images of the target's train split of which no label is used; None where there is none."""
    if labeled.split != target.split:
        return target
    taken = set(labeled.names)
    rows = [row for row, name in enumerate(target.names) if name not in taken]
    return target.take(rows) if rows else None
