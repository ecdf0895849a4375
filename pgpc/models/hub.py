"""Files of weights on the Hugging Face hub: found in its cache, or fetched into it, and checked.

The cache is that of ``huggingface_hub`` (``$HF_HOME``), which other programs share; what is in it is taken without
asking the network, so that many processes, and a machine without a network, can start from it.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pgpc.models.weight_files import WEIGHT_SUFFIXES
from pgpc.runtime.files import sha256

log = logging.getLogger(__name__)

USUAL_FILES = ("model.safetensors", "pytorch_model.bin")
"""What files of weights are called on the hub, in the order in which they are preferred."""
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
"""Files that are fetched beside weights where there are some: they say how images are normalized."""
_SECONDS = 10
"""How long the hub may take to answer the first question; without a network that is when one hears of it."""


class HubError(OSError):
    """Weights cannot be had from the hub; the text says which, why and what to do."""


class HubFile(NamedTuple):
    """A file of weights on the hub.

    Attributes:
        repository: Its repository, "owner/name".
        revision: Branch, tag or commit of that.
        name: Its path in the repository; None for the one file of weights that there is, or the usual one.
    """

    repository: str
    revision: str = "main"
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubFile:
        """Return the file that a text names.

        Args:
            text: "owner/name", with "/FILE" for one of several files, and with "@REVISION" behind that.

        Raises:
            ValueError: The text is not of this form.
        """
        match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/([^@]+))?(?:@(.+))?", text)
        if match is None:
            raise ValueError(
                f"a repository on the hub must be named as hf:owner/name, hf:owner/name@revision or "
                f"hf:owner/name/file@revision, but got 'hf:{text}'."
            )
        repository, name, revision = match.groups()
        return cls(repository, revision or "main", name)

    @property
    def expected(self) -> str:
        """The name that the file has or is likely to have, in words."""
        return self.name or " or ".join(USUAL_FILES)

    @property
    def folder(self) -> Path:
        """The folder of the repository in the cache."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / f"models--{self.repository.replace('/', '--')}"


def fetch(wanted: HubFile, notice: str = "") -> Path:
    """Return a file of the hub, from the cache or fetched into it.

    Processes of one machine that ask for the same file at once wait for one of them to fetch it.

    Args:
        wanted: The file.
        notice: What is said where it is fetched, or cannot be: the license.

    Raises:
        HubError: It is not in the cache, and the hub cannot be reached or does not give it.
        ValueError: There is no such repository, revision or file, or it is damaged.
    """
    file = cached(wanted)
    if file is None:
        file = _download(wanted, notice)
    _check_sum(file)
    return file


def snapshot_of(wanted: HubFile) -> Path:
    """Return the folder of the cache with the files of a revision, which may not be there yet."""
    reference = wanted.folder / "refs" / wanted.revision
    commit = reference.read_text().strip() if reference.is_file() else wanted.revision
    return wanted.folder / "snapshots" / commit


def cached(wanted: HubFile) -> Path | None:
    """Return a file of the hub where it is in the cache; None where it is not.

    Raises:
        ValueError: The cache has several files of weights of the repository, none of which has a usual name.
    """
    snapshot = snapshot_of(wanted)
    if wanted.name is not None:
        file = snapshot / wanted.name
        return file if file.is_file() else None
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    name = _choose(wanted, names)
    return None if name is None else snapshot / name


def _download(wanted: HubFile, notice: str) -> Path:
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(wanted, "HF_HUB_OFFLINE forbids to ask for it", notice)
    for library in ("httpx", "httpx2"):  # a line for every request, by which library the client has
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        info = HfApi().model_info(wanted.repository, revision=wanted.revision, timeout=_SECONDS)
        names = [sibling.rfilename for sibling in info.siblings or ()]
    except GatedRepoError as error:
        raise ValueError(
            f"{_page(wanted)} gives its files only to who has accepted its terms there: accept them, and log in with "
            f"`hf auth login`.{_behind(notice)}"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"There is no repository {wanted.repository!r} at {constants.ENDPOINT}, or it is private: check its name, "
            f"or log in with `hf auth login`.{_behind(notice)}"
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(
            f"{_page(wanted)} has no branch, tag or commit {wanted.revision!r}. Check the name behind the @."
        ) from error
    except Exception as error:  # which library asks, and so what it raises, is another in each release of the client
        raise _unreachable(wanted, _first_line(error), notice) from error
    name = wanted.name if wanted.name in names else None if wanted.name else _choose(wanted, names)
    if name is None:
        raise ValueError(
            f"{_page(wanted)} must have {wanted.name or 'a file of weights'}, but it has "
            f"{', '.join(names[:20]) or 'no file'}. Name one of them: hf:{wanted.repository}/FILE."
        )
    log.info("Fetching %s of %s into %s.%s", name, _page(wanted), wanted.folder.parent, _behind(notice))
    try:
        # The weights last: where they are in the cache, so is what describes them.
        for wanted_name in [*(file for file in DESCRIPTIONS if file in names), name]:
            file = hf_hub_download(
                wanted.repository, wanted_name, revision=wanted.revision, endpoint=constants.ENDPOINT
            )
        return Path(file)
    except Exception as error:  # as above
        raise _unreachable(wanted._replace(name=name), _first_line(error), notice) from error


def _choose(wanted: HubFile, names: Sequence[str]) -> str | None:
    """Return the file of weights among the files of a repository; None where there is none.

    Raises:
        ValueError: There are several, none of which has a usual name.
    """
    usual = [name for name in USUAL_FILES if name in names]
    found = usual[:1] or [name for name in names if name.endswith(WEIGHT_SUFFIXES)]
    if len(found) > 1:
        raise ValueError(
            f"hf:{wanted.repository} must say which file is meant, since there are several: {', '.join(found[:20])}. "
            f"Name one: hf:{wanted.repository}/{found[0]}."
        )
    return found[0] if found else None


def _check_sum(file: Path) -> None:
    """Refuse a file whose contents are not those that the hub says.

    In the cache a file of weights is a link to another one, which is named after its checksum.
    """
    blob = file.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name) is None:
        return  # of a small file, or on a file system without links, the hub's checksum is not known
    status = blob.stat()
    if _sum(blob, status.st_size, status.st_mtime_ns) != blob.name:
        raise ValueError(f"{file} is damaged: its checksum is not that of the hub. Delete {blob}; it is fetched again.")


@functools.lru_cache(maxsize=8)
def _sum(file: Path, size: int, changed_ns: int) -> str:
    """Return the checksum of a file, which is read once as long as neither its size nor its time changes."""
    return sha256(file)


def _page(wanted: HubFile) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{wanted.repository}"


def _behind(notice: str) -> str:
    """Return what is said behind a sentence."""
    return f" {notice}" if notice else ""


def _unreachable(wanted: HubFile, reason: str, notice: str) -> HubError:
    return HubError(
        f"The weights must come from {_page(wanted)} ({wanted.expected}), which cannot be reached ({reason}): download "
        "that file where there is a network and name it with --set model.pretrained=FILE, or copy the folder "
        f"{wanted.folder} from a machine that has it to the same place here; model.pretrained=none starts from random "
        f"weights.{_behind(notice)}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
