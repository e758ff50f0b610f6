"""A model from the Hugging Face hub: the real client, one pinned commit, only the files that the build reads.

Files land in huggingface_hub's own cache layout below the build's cache, so a commit is fetched once; a
marker beside them says that the commit is complete, and the next build does not ask the hub at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from builder.config.source_spec import HubSource
from builder.errors import BuildError, SourceError, disk_full
from builder.sources.files import MODULES, WEIGHTS_INDEX, read_json, require_files, wanted_files
from builder.sources.safetensors import check_safetensors


def download_model(source: HubSource, cache: Path) -> Path:
    """Returns the directory with the model's files at its pinned commit, downloaded where necessary.

    Raises:
        SourceError: not pinned, not found, not reachable, or cut off on the way.
        ModelMismatchError: the model has pickled weights only.
    """
    commit = source.commit()
    marker = cache / f"{source.id.replace('/', '--')}-{commit}.json"
    directory = _complete(marker)
    if directory is not None:
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    with _translated(source, commit):
        siblings = HfApi().model_info(source.id, revision=commit).siblings or []
        listing = [sibling.rfilename for sibling in siblings]
        modules, index = (
            read_json(_download(source, commit, name, cache).parent, name) if name in listing else None
            for name in (MODULES, WEIGHTS_INDEX)
        )
        names = wanted_files(listing, modules, index)
        require_files(names, listing, source.id)
        paths = {name: _download(source, commit, name, cache) for name in names}
    root = paths["config.json"].parent
    for name, path in paths.items():
        if name.endswith(".safetensors"):
            _check_download(path)
    content = {
        "directory": str(root.relative_to(cache)),
        "files": {name: path.stat().st_size for name, path in paths.items()},
    }
    marker.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return root


def _complete(marker: Path) -> Path | None:
    """The directory that a marker vouches for, if every file is still there and as long as it was."""
    try:
        content = json.loads(marker.read_bytes())
        root = marker.parent / content["directory"]
        whole = all((root / name).stat().st_size == size for name, size in content["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return root if whole else None


def _download(source: HubSource, commit: str, name: str, cache: Path) -> Path:
    return Path(hf_hub_download(source.id, name, revision=commit, cache_dir=cache))


def _check_download(path: Path) -> None:
    try:
        check_safetensors(path)
    except SourceError:
        # A damaged file in the cache would be found there for ever after.
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


_UNREACHABLE = (
    "cannot reach the hub to fetch {id}: check the network (HF_ENDPOINT, HTTPS_PROXY), "
    "or name a directory that holds the model"
)
# What the client raises, the code it becomes, and what to do; the first that fits counts.
_FAILURES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        OfflineModeIsEnabled,
        "offline",
        "{id} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it: unset it, or name a directory",
    ),
    (GatedRepoError, "access_denied", "{id} is gated: accept its terms on the hub and set HF_TOKEN"),
    (
        RepositoryNotFoundError,
        "source_not_found",
        "the hub has no model {id}, or it is private (set HF_TOKEN)",
    ),
    (RevisionNotFoundError, "revision_not_found", "{id} has no revision {commit}"),
    (LocalEntryNotFoundError, "hub_unreachable", _UNREACHABLE),
    (EntryNotFoundError, "file_not_found", "a file of {id} at {commit} is not on the hub"),
    (HfHubHTTPError, "hub_unreachable", "the hub answered HTTP {status} for {id}: try again"),
    (
        (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError),
        "download_failed",
        "a download of {id} broke off: try again",
    ),
    ((requests.ConnectionError, requests.Timeout), "hub_unreachable", _UNREACHABLE),
    # What the client raises when a file is not as long as announced is a bare OSError.
    (OSError, "download_failed", "a download of {id} broke off ({reason})"),
)


@contextmanager
def _translated(source: HubSource, commit: str) -> Iterator[None]:
    """The client's many errors, as one line each with what to do."""
    try:
        yield
    except BuildError:
        raise
    except Exception as error:
        full = disk_full(error)
        if full is not None:
            raise full from error
        for kinds, code, message in _FAILURES:
            if isinstance(error, kinds):
                status = getattr(getattr(error, "response", None), "status_code", "?")
                facts = {"id": source.id, "commit": commit, "status": status, "reason": _first_line(error)}
                raise SourceError(message.format(**facts), code=code) from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
