"""Items on their way from a process that loads them to the one that waits for them: no item is lost.

PyTorch hands tensors over as files in /dev/shm, and does so in a thread whose errors nobody sees: where such a file
cannot be made, the item is lost, and who waits for it waits for ever. Here the loading process packs the item itself.
Where /dev/shm has no room (64 MB in a container unless it is told otherwise), or sharing fails for another reason, the
numbers themselves go through the pipe between the processes.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import pickle
import shutil
from collections.abc import Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

log = logging.getLogger(__name__)

PREFETCHED = 2
"""Items that each loading process is ahead of who waits for them."""

_SHARED_MEMORY = Path("/dev/shm")
_MB, _GB = 2**20, 2**30

_said: set[str] = set()  # what a process has been warned of: each evaluation has a new loader


class Obstacle(NamedTuple):
    """Why an item was not handed over in shared memory.

    Attributes:
        kind: What is said once only.
        text: What is said, and what the user can do.
    """

    kind: str
    text: str


class Delivered(NamedTuple):
    """An item that has arrived, and what stood in its way."""

    item: Any
    obstacle: Obstacle | None


class Parcel:
    """A packed item.

    Args:
        content: The item as pickled by the process that loaded it, with its numbers or with where they are shared.
        obstacle: Why its numbers are not shared; None where they are.
    """

    def __init__(self, content: bytes, obstacle: Obstacle | None) -> None:
        self._content, self._obstacle = content, obstacle

    def unpack(self) -> Delivered:
        """Return the item; once only, since what is shared is given away."""
        return Delivered(pickle.loads(self._content), self._obstacle)

    def pin_memory(self) -> Delivered:
        """Return the item in memory that a GPU reads by itself; the DataLoader's thread for that calls this."""
        item, obstacle = self.unpack()
        return Delivered(item._make(x.pin_memory() if isinstance(x, Tensor) else x for x in item), obstacle)


class Packed(Dataset[Parcel]):
    """A data set for the processes of a DataLoader, whose items are packed.

    Args:
        data: The data set, whose items are named tuples.
    """

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data
        self._failure: Obstacle | None = None

    def __getitem__(self, index: int) -> Parcel:
        item = self._data[index]
        obstacle = self._failure or _lack_of_room(item)
        if obstacle is None:
            shared = io.BytesIO()
            try:
                ForkingPickler(shared).dump(item)
                return Parcel(shared.getvalue(), None)
            except (OSError, RuntimeError) as error:
                # What has been shared of this item stays so until the process ends: it does not try again.
                self._failure = obstacle = _failure(error)
        return Parcel(pickle.dumps(item), obstacle)


def unpacked(parcels: Iterable[Parcel | Delivered]) -> Iterator[Any]:
    """Yield the items of parcels; warn once of each kind of obstacle.

    Args:
        parcels: Items of :class:`Packed`, as a DataLoader gives them, in pinned memory or not.
    """
    for parcel in parcels:
        item, obstacle = parcel.unpack() if isinstance(parcel, Parcel) else parcel
        if obstacle is not None and obstacle.kind not in _said:
            _said.add(obstacle.kind)
            log.warning("%s", obstacle.text)
        yield item


@contextlib.contextmanager
def room_for_processes() -> Iterator[None]:
    """Say what is full where the processes of a loader cannot be started, whose locks are files in /dev/shm, too.

    Raises:
        ValueError: It is /dev/shm.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or not _SHARED_MEMORY.is_dir():
            raise
        total, _, free = shutil.disk_usage(_SHARED_MEMORY)
        raise ValueError(
            f"Processes that load images (data.loader_workers) need room for their locks in {_SHARED_MEMORY}, but it "
            f"has {free / _MB:.1f} of {total / _MB:.1f} MB free. Remove what fills it, make it larger where the "
            "container is started, for example by --shm-size=1g, or set data.loader_workers=0."
        ) from None


def _lack_of_room(item: Iterable[Any]) -> Obstacle | None:
    """Return an obstacle if /dev/shm has less room than all items that a loader is ahead may need."""
    worker = get_worker_info()
    assert worker is not None, "items are packed in the processes of a DataLoader"
    if not _SHARED_MEMORY.is_dir():  # other systems have shared memory elsewhere
        return None
    needed = worker.num_workers * PREFETCHED * sum(x.nbytes for x in item if isinstance(x, Tensor))
    total, _, free = shutil.disk_usage(_SHARED_MEMORY)
    if needed <= free:
        return None
    return Obstacle(
        "room",
        f"{_SHARED_MEMORY} has {free / _MB:.0f} of {total / _MB:.0f} MB free, but the images that "
        f"{worker.num_workers} processes (data.loader_workers) hold ready may need {needed / _MB:.0f} MB. They come "
        "through pipes instead, which is slower. Make it larger where the container is started, for example by "
        f"--shm-size={-(-4 * needed // _GB)}g.",
    )


def _failure(error: Exception) -> Obstacle:
    """Return the obstacle that an error while sharing is, with the remedy for what is known."""
    text = str(error)
    remedies = {
        "No space left": "Make /dev/shm larger where the container is started, for example by --shm-size=8g.",
        "Too many open files": "Let processes open more files (ulimit -n 65536), or lower data.loader_workers.",
        "AF_UNIX path too long": "Set TMPDIR to a folder with a short name, such as /tmp.",
    }
    remedy = next((remedy for cause, remedy in remedies.items() if cause in text), "")
    return Obstacle(
        "failure",
        f"Loaded images cannot be put into shared memory ({text.rstrip('.')}). They come through pipes instead, which "
        f"is slower. {remedy}".rstrip(),
    )
