"""Folders to shards: every image and label is checked once, here, so that training need not."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pgpc.classes import CITYSCAPES, NUM_CLASSES, classes_to_json
from pgpc.data.layouts import Item, Layout
from pgpc.data.layouts import layout as find_layout
from pgpc.data.shards import MANIFEST, VERSION, schema, sha256
from pgpc.data.transforms import count_ids, decode_label

MAX_FILE_BYTES = 480 * 2**20
"""Images and labels of one file in bytes, so that it stays below 512 MB. A larger row gets its own file."""
_BATCH_BYTES = 16 * 2**20  # one Arrow record batch: bounds the memory of packing


class PackError(ValueError):
    """Images or labels that cannot be packed; the message lists all of them."""


@dataclass(frozen=True)
class _Row:
    name: str
    image: bytes
    label: bytes | None
    width: int
    height: int
    class_pixels: np.ndarray  # (C,) int64


def pack(
    layout: str,
    root: Path | str,
    out: Path | str,
    *,
    splits: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Check a data set and write it as shards.

    Images are stored as they are on disk, labels as 8-bit PNGs of train ids. The folder appears when all is
    written; until then, and after an error, `out` is as it was.

    Args:
        layout: name of the layout of `root`.
        root: folder of the data set.
        out: folder for the shards: new, empty, or one that holds shards, which are replaced.
        splits: what to pack; all splits of the layout when None.
        on_progress: called with (images done, images in all) after each image.

    Raises:
        ValueError: an unknown layout or split, or an `out` that holds other files.
        FileNotFoundError: a folder or label is missing.
        PackError: images or labels that cannot be packed.
    """
    source, out = find_layout(layout), Path(out).resolve()
    splits = source.splits if splits is None else tuple(dict.fromkeys(splits))
    source.check_splits(splits)
    _check_replaceable(out)
    items = {split: source.scan(root, split) for split in splits}
    total = sum(map(len, items.values()))
    problems: list[str] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, so that the rename at the end stays on one file system.
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        manifest: dict[str, Any] = {
            "version": VERSION,
            "layout": layout,
            "classes": classes_to_json(CITYSCAPES),
            "splits": {},
        }
        done = 0
        for split in splits:
            writer = _Writer(partial, split)
            for outcome in _in_parallel(lambda item: _read(source, item), items[split]):
                if isinstance(outcome, str):
                    problems.append(outcome)
                elif not problems:  # after a problem the rest is only checked
                    writer.add(outcome)
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
            manifest["splits"][split] = writer.close()
        if problems:
            lines = [
                f"{len(problems)} of {total} images of {root} cannot be packed; nothing was written.",
                *problems,
            ]
            raise PackError("\n".join(lines))
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _publish(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read(layout: Layout, item: Item) -> _Row | str:
    """One row, or what is wrong with it."""
    file = item.image
    try:
        image = item.image.read_bytes()
        with Image.open(io.BytesIO(image)) as picture:
            picture.load()
            width, height = picture.size
            if picture.mode not in ("RGB", "RGBA", "L", "P"):
                raise ValueError(f"image must have 8 bits per channel, but its mode is {picture.mode!r}")
        if item.label is None:
            return _Row(item.name, image, None, width, height, np.zeros(NUM_CLASSES, dtype=np.int64))
        file = item.label
        raw = decode_label(item.label.read_bytes())
        if raw.shape != (height, width):
            raise ValueError(f"label is {raw.shape[1]} x {raw.shape[0]}, its image is {width} x {height}")
        label = layout.train_ids(raw, item.label)
    # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        return f"{file}: {error}"
    encoded = io.BytesIO()
    Image.fromarray(label).save(encoded, format="png", compress_level=6)
    return _Row(item.name, image, encoded.getvalue(), width, height, count_ids(label)[:NUM_CLASSES])


def _in_parallel(function: Callable[[Item], _Row | str], items: Iterable[Item]) -> Iterator[_Row | str]:
    """Results in the order of the items, with a bounded number in memory."""
    # Threads suffice: PNG decoding, compression and reading release the interpreter lock.
    workers = min(os.cpu_count() or 1, 32)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Row | str]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Writer:
    """Writes the rows of one split into files of bounded size, and describes them."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._schema = schema(NUM_CLASSES)
        self._rows: list[_Row] = []
        self._rows_bytes = self._file_bytes = 0
        self._file: pa.ipc.RecordBatchFileWriter | None = None
        self._files: list[dict[str, Any]] = []
        self._labelled = 0
        self._class_pixels = np.zeros(NUM_CLASSES, dtype=np.int64)

    def add(self, row: _Row) -> None:
        size = len(row.image) + len(row.label or b"")
        if self._file_bytes and self._file_bytes + size > MAX_FILE_BYTES:
            self._end_file()
        self._rows.append(row)
        self._rows_bytes += size
        self._file_bytes += size
        self._labelled += row.label is not None
        self._class_pixels += row.class_pixels
        if self._rows_bytes >= _BATCH_BYTES:
            self._write_batch()

    def close(self) -> dict[str, Any]:
        """End the last file; the split's entry of the manifest."""
        self._end_file()
        for file in self._files:
            path = self._folder / file["name"]
            file.update(size=path.stat().st_size, sha256=sha256(path))
        return {
            "count": sum(file["rows"] for file in self._files),
            "labelled": self._labelled,
            "class_pixels": self._class_pixels.tolist(),
            "files": self._files,
        }

    def _write_batch(self) -> None:
        if not self._rows:
            return
        if self._file is None:
            name = f"{self._split}-{len(self._files):05d}.arrow"
            self._file = pa.ipc.new_file(str(self._folder / name), self._schema)
            self._files.append({"name": name, "rows": 0})
        columns = [[getattr(row, field.name) for row in self._rows] for field in self._schema]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema)]
        self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._files[-1]["rows"] += len(self._rows)
        self._rows, self._rows_bytes = [], 0

    def _end_file(self) -> None:
        self._write_batch()
        if self._file is not None:
            self._file.close()
        self._file, self._file_bytes = None, 0


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"Shards are written into a folder, but {out} is a file. Choose another folder.")
    others = [p.name for p in out.iterdir() if p.name != MANIFEST and p.suffix != ".arrow"]
    if others:
        raise ValueError(
            f"The folder for shards must be new, empty or hold shards, which are replaced, but {out} holds "
            f"{', '.join(sorted(others)[:5])}. Choose another folder."
        )


def _publish(partial: Path, out: Path) -> None:
    """Put the finished folder in place of `out`."""
    partial.chmod(0o755)  # mkdtemp makes folders private
    if out.exists():
        replaced = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        os.replace(out, replaced)
        os.replace(partial, out)
        shutil.rmtree(replaced)
    else:
        os.replace(partial, out)
