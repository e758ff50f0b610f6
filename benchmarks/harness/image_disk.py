"""An image as one ext4 file system, with what its config says and where its files lie in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness.attribution import Extent
from benchmarks.harness.lazy_disk import LazyDiskError, run
from benchmarks.harness.paths import cache
from benchmarks.harness.stamps import digest, make_once

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC, FIEMAP_EXTENT_LAST = 1, 1
_HEAD, _EXTENT, _AT_ONCE = "=QQIIII", "=5Q4I", 512
OPAQUE, REMOVED = ".wh..wh..opq", ".wh."


@dataclass(frozen=True, slots=True)
class Start:
    """How the image's config starts a process: command, variables, directory."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str


@dataclass(frozen=True, slots=True)
class ImageDisk:
    """An image laid out: the file with its file system, its start, and its files' extents."""

    backing: Path
    start: Start
    extents: Sequence[Extent]


def lay_out(image: str, docker: str) -> ImageDisk:
    """Returns an image laid out below the cache, made if the image has changed.

    Raises:
        LazyDiskError: Docker does not have the image, or a command failed.
    """
    identity = json.loads(run(docker, "image", "inspect", image))[0]["Id"]
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in image)
    directory = cache() / "lazy" / "images" / name
    make_once(
        directory, digest(identity, files=[Path(__file__)]), lambda target: _make(image, docker, target)
    )
    content = json.loads((directory / "content.json").read_text(encoding="utf-8"))
    extents = [Extent(*one) for one in content["extents"]]
    return ImageDisk(directory / "image.ext4", Start(**content["start"]), extents)


def start_of(config: Mapping[str, object]) -> Start:
    """Returns how an image's config (``Entrypoint``, ``Cmd``, ``Env``, ``WorkingDir``) starts its process.

    Raises:
        LazyDiskError: it starts nothing.
    """
    words = [*_strings(config.get("Entrypoint")), *_strings(config.get("Cmd"))]
    if not words:
        raise LazyDiskError("the image has neither ENTRYPOINT nor CMD")
    variables = dict(one.split("=", 1) for one in _strings(config.get("Env")))
    return Start(words, variables, str(config.get("WorkingDir") or "/"))


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _make(image: str, docker: str, directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        archive, saved, root = (Path(scratch) / name for name in ("image.tar", "saved", "root"))
        run(docker, "save", "-o", str(archive), image)
        with tarfile.open(archive) as tar:
            tar.extractall(saved, filter="data")
        archive.unlink()
        manifest = json.loads((saved / "manifest.json").read_text(encoding="utf-8"))[0]
        config = json.loads((saved / manifest["Config"]).read_text(encoding="utf-8"))["config"]
        backing = directory / "image.ext4"
        layers = [saved / name for name in manifest["Layers"]]
        _make_file_system(backing, sum(_extracted_bytes(layer) for layer in layers))
        root.mkdir()
        run("mount", "-o", "loop", str(backing), str(root))
        try:
            for layer in layers:
                extract(layer, root)
            for name in ("proc", "dev", "tmp"):
                (root / name).mkdir(exist_ok=True)
            run("sync", "-f", str(root))
            extents = _extents_below(root)
        finally:
            run("umount", str(root))
    content = {"start": asdict(start_of(config)), "extents": [list(one) for one in extents]}
    (directory / "content.json").write_text(json.dumps(content), encoding="utf-8")


def _extracted_bytes(layer: Path) -> int:
    with tarfile.open(layer) as tar:
        return sum((member.size + 4095) // 4096 * 4096 + 512 for member in tar)


def _make_file_system(backing: Path, content: int) -> None:
    with backing.open("wb") as stream:
        stream.truncate(content * 21 // 20 + (64 << 20))
    run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(backing))


def extract(layer: Path, root: Path) -> None:
    """Extracts one layer over the earlier ones; whiteouts remove what those hold.

    Raises:
        LazyDiskError: tar failed.
    """
    with tarfile.open(layer) as tar:
        names = tar.getnames()
    for name in names:
        parent, _, last = name.rpartition("/")
        if last == OPAQUE:
            for path in (root / parent).iterdir() if (root / parent).is_dir() else ():
                _remove(path)
        elif last.startswith(REMOVED):
            _remove(root / parent / last.removeprefix(REMOVED))
    run("tar", "-x", "--numeric-owner", f"--exclude={REMOVED}*", "-C", str(root), "-f", str(layer))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _extents_below(root: Path) -> list[Extent]:
    found = []
    for directory, _, files in os.walk(root):
        for name in files:
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                place = str(path.relative_to(root))
                found += [Extent(start, start + length, place) for start, length in extents_of(path)]
    return sorted(found)


def extents_of(path: Path) -> list[tuple[int, int]]:
    """Returns where a file's bytes lie in its file system: offsets and lengths, by the kernel's FIEMAP."""
    found: list[tuple[int, int]] = []
    start = 0
    with path.open("rb") as stream:
        while True:
            buffer = bytearray(struct.calcsize(_HEAD) + struct.calcsize(_EXTENT) * _AT_ONCE)
            struct.pack_into(_HEAD, buffer, 0, start, 2**64 - 1 - start, FIEMAP_FLAG_SYNC, 0, _AT_ONCE, 0)
            fcntl.ioctl(stream, FS_IOC_FIEMAP, buffer)
            mapped, last = struct.unpack_from(_HEAD, buffer)[3], False
            for index in range(mapped):
                place = struct.calcsize(_HEAD) + struct.calcsize(_EXTENT) * index
                logical, physical, length, _, _, flags, *_ = struct.unpack_from(_EXTENT, buffer, place)
                found.append((physical, length))
                start, last = logical + length, bool(flags & FIEMAP_EXTENT_LAST)
            if last or not mapped:
                return found
