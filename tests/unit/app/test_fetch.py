"""Bundles fetched in init: whole or not at all, and always with a reason."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lambda_app.bundle import Bundle, fetch, verify_bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.coldstart.logs import JsonLog
from lambda_app.errors import BundleError, ConfigurationError, FetchError
from lambda_app.start import start
from tests.support.fakes import Context
from tests.support.manifests import entry, write_manifest
from tests.support.s3_server import BUCKET, ENVIRONMENT, client, front, s3_server, upload

ROOT = Path(__file__).resolve().parents[3]
# Connections that a client's pool drops after an error are closed by the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PREFIX = "bundles/v1"
URL = f"s3://{BUCKET}/{PREFIX}"
# Two whole ranges and a part of a third.
WEIGHTS = os.urandom(1 << 20) * 20
FILES = {"model.onnx": b"graph", "model.bin": WEIGHTS, "tokenizer.json": b"{}"}


def write_bundle(root: Path) -> Path:
    """A bundle that can be described, fetched and verified, not run."""
    model = entry() | {
        "files": [
            {"path": f"embedding/{name}", "bytes": len(content), "sha256": sha256(content).hexdigest()}
            for name, content in FILES.items()
        ]
    }
    (root / "embedding").mkdir(parents=True)
    for name, content in FILES.items():
        (root / "embedding" / name).write_bytes(content)
    write_manifest(root, models={"embedding": model})
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    return tmp_path / "tmp"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3(bundle: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an S3 that holds the bundle at :data:`URL`, and that this process asks."""
    with s3_server() as address:
        upload(address, bundle, PREFIX)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        yield address


def fetched(temporary: Path, url: str = URL) -> Path:
    return fetch.fetch_bundle(url, temporary, JsonLog(10))


def refused(temporary: Path, url: str = URL) -> FetchError:
    """The error of a fetch that fails, after which nothing is left that could be taken for a bundle."""
    with pytest.raises(FetchError) as caught:
        fetched(temporary, url)
    assert bundles(temporary) == []
    return caught.value


def bundles(temporary: Path) -> list[str]:
    """Directories that a start would use."""
    base = temporary / "lambda-embed-rerank"
    return [path.name for path in base.glob("*/") if path.is_dir() and path.suffix != ".part"]


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Whole


def assert_fetched_and_reused(temporary: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory = fetched(temporary, url)
    assert verify_bundle(directory) == sum(map(len, FILES.values()))
    slow, done = log_lines(capsys)
    assert (slow["level"], slow["code"], slow["reused_bytes"]) == ("WARNING", "slow_start", 0)
    assert slow["bytes"] == done["bytes"] == sum(map(len, FILES.values()))
    inode = (directory / "embedding" / "model.bin").stat().st_ino
    assert fetched(temporary, url) == directory
    assert (directory / "embedding" / "model.bin").stat().st_ino == inode
    assert [line["event"] for line in log_lines(capsys)] == ["bundle_reused"]


def test_a_bundle_from_s3(s3: str, temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_fetched_and_reused(temporary, URL, capsys)


def test_a_bundle_from_a_directory(bundle: Path, temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_fetched_and_reused(temporary, f"file://{bundle}", capsys)


def test_large_files_come_in_ranges(s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(s3, "model.bin") as passing:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", passing.address)
        fetched(temporary)
    assert sorted(map(str, passing.ranges)) == [
        "bytes=0-8388607",
        "bytes=16777216-",
        "bytes=8388608-16777215",
    ]


def test_a_range_that_breaks_off_is_asked_for_again(
    s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front(s3, "model.bin") as passing:
        passing.cuts = 2
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", passing.address)
        verify_bundle(fetched(temporary))
    assert len(passing.ranges) == 5


def test_a_bundle_at_the_root_of_a_bucket(s3: str, bundle: Path, temporary: Path) -> None:
    upload(s3, bundle, "")
    verify_bundle(fetched(temporary, f"s3://{BUCKET}"))


def test_another_bundle_takes_the_place_of_the_last(bundle: Path, temporary: Path) -> None:
    first = fetched(temporary, f"file://{bundle}")
    (bundle / "embedding" / "tokenizer.json").write_bytes(b'{"new": 1}')
    changed = entry()
    changed["files"] = [
        {"path": f"embedding/{path.name}", "bytes": len(content := path.read_bytes())}
        | {"sha256": sha256(content).hexdigest()}
        for path in sorted((bundle / "embedding").iterdir())
    ]
    write_manifest(bundle, models={"embedding": changed})
    second = fetched(temporary, f"file://{bundle}")
    assert bundles(temporary) == [second.name]
    assert second != first


def test_a_fetched_bundle_that_was_damaged_since_is_fetched_again(bundle: Path, temporary: Path) -> None:
    directory = fetched(temporary, f"file://{bundle}")
    (directory / "embedding" / "model.bin").write_bytes(b"short")
    verify_bundle(fetched(temporary, f"file://{bundle}"))


# Not whole


def test_a_wrong_hash(s3: str, temporary: Path) -> None:
    altered = b"x" + WEIGHTS[1:]
    client(s3).put_object(Bucket=BUCKET, Key=f"{PREFIX}/embedding/model.bin", Body=altered)
    error = refused(temporary)
    assert error.code == "bundle_hash_mismatch"
    assert re.search(
        r"embedding/model.bin was fetched with sha256 \w{12}\.\.\., the manifest says", str(error)
    )
    # Corrected where it lies, it is fetched by the next start, which keeps what was right.
    client(s3).put_object(Bucket=BUCKET, Key=f"{PREFIX}/embedding/model.bin", Body=WEIGHTS)
    verify_bundle(fetched(temporary))


@pytest.mark.parametrize("size", [0, 5, 12 << 20])
def test_an_object_that_is_too_short(s3: str, temporary: Path, size: int) -> None:
    client(s3).put_object(Bucket=BUCKET, Key=f"{PREFIX}/embedding/model.bin", Body=WEIGHTS[:size])
    error = refused(temporary)
    assert error.code == "bundle_hash_mismatch"
    assert f"model.bin was fetched with {size} bytes, the manifest says {len(WEIGHTS)}" in str(error)


def test_connections_that_always_break_off(s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(s3, "model.bin") as passing:
        passing.cuts = 1000
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", passing.address)
        error = refused(temporary)
    assert error.code == "bundle_download_failed"
    assert f"{URL}/embedding/model.bin could not be fetched" in str(error)


def test_a_manifest_that_breaks_off(s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(s3, "manifest.json") as passing:
        passing.cuts = 1000
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", passing.address)
        error = refused(temporary)
    assert error.code == "bundle_download_failed"


def test_nobody_answers(environment: None, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    error = refused(temporary)
    assert error.code == "bundle_download_failed"
    assert "gateway endpoint" in str(error)


@pytest.mark.parametrize("key", ["manifest.json", "embedding/model.bin"])
def test_a_missing_object(s3: str, temporary: Path, key: str) -> None:
    client(s3).delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}")
    error = refused(temporary)
    assert error.code == "bundle_not_found"
    assert f"there is no {URL}/{key}" in str(error)


def test_a_missing_bucket(s3: str, temporary: Path) -> None:
    assert refused(temporary, "s3://nobody-has-this/v1").code == "bundle_not_found"


def test_no_permission(s3: str, temporary: Path) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client(s3).put_bucket_policy(Bucket=BUCKET, Policy=policy)
    error = refused(temporary)
    assert error.code == "bundle_access_denied"
    assert "s3:GetObject" in str(error)


def test_no_credentials(s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = refused(temporary)
    assert error.code == "bundle_access_denied"
    assert "there are no credentials" in str(error)


def test_no_file(bundle: Path, temporary: Path) -> None:
    (bundle / "embedding" / "model.bin").unlink()
    error = refused(temporary, f"file://{bundle}")
    assert error.code == "bundle_not_found"
    assert str(bundle / "embedding" / "model.bin") in str(error)


def test_a_directory_is_no_file(bundle: Path, temporary: Path) -> None:
    (bundle / "manifest.json").unlink()
    (bundle / "manifest.json").mkdir()
    assert refused(temporary, f"file://{bundle}").code == "bundle_download_failed"


def test_the_boto3_that_is_not_there(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "lambda_app.bundle.fetch_s3", raising=False)
    with pytest.raises(ConfigurationError, match=r"needs boto3.*requirements/fetch.txt"):
        fetched(temporary)
    monkeypatch.delitem(sys.modules, "lambda_app.bundle.fetch_s3", raising=False)


# Manifests


def altered_manifest(root: Path) -> None:
    path = root / "manifest.json"
    path.write_text(path.read_text().replace('"mean"', '"cls"'))


def foreign_manifest(root: Path) -> None:
    (root / "manifest.json").write_text('{"model_type": "bert"}')


def newer_manifest(root: Path) -> None:
    write_manifest(root, schema_version=99)


def manifest_without_files(root: Path) -> None:
    write_manifest(root, models={"embedding": {}})


def escaping(path: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        file = {"path": path, "bytes": 2, "sha256": sha256(b"{}").hexdigest()}
        write_manifest(root, models={"embedding": entry() | {"files": [file]}})

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (altered_manifest, "was altered after the build"),
        (foreign_manifest, "no bundle manifest"),
        (newer_manifest, "schema version 99"),
        (manifest_without_files, "lists no files"),
        (escaping("../../outside"), "outside of its models' directories"),
        (escaping("/etc/passwd"), "outside of its models' directories"),
        (escaping("embedding/../../x"), "outside of its models' directories"),
        (escaping("embedding/.."), "outside of its models' directories"),
    ],
)
def test_manifests_that_cannot_be_trusted(
    bundle: Path, temporary: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(bundle)
    error = refused(temporary, f"file://{bundle}")
    assert error.code == "bundle_hash_mismatch"
    assert message in str(error)
    assert f"file://{bundle}/manifest.json" in str(error)


# No space


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting takes root on Linux")
    directory = tmp_path / "small"
    directory.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(directory)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("url", [URL, "file"])
@pytest.mark.parametrize("foreseen", [True, False])
def test_no_space(
    s3: str, bundle: Path, small_disk: Path, url: str, foreseen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not foreseen:
        # As when something else fills the disk meanwhile.
        monkeypatch.setattr(fetch, "_check_space", lambda size, base: None)
    error = refused(small_disk, URL if url == URL else f"file://{bundle}")
    assert error.code == "bundle_no_space"
    assert ("21 MB are to be fetched and 13 MB are free" if foreseen else "the disk is full") in str(error)
    assert "ephemeral storage" in str(error)


def test_somebody_elses_directory_is_not_trusted(bundle: Path, temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    temporary.mkdir()
    (temporary / "lambda-embed-rerank").symlink_to(tmp_path / "elsewhere")
    assert "belongs to somebody else" in str(refused(temporary, f"file://{bundle}"))


# Half


FETCH = """
import sys
from pathlib import Path
from lambda_app.bundle.fetch import fetch_bundle
from lambda_app.coldstart.logs import JsonLog
fetch_bundle(sys.argv[1], Path(sys.argv[2]), JsonLog(10))
"""


def test_a_start_that_was_killed_is_taken_up_by_the_next(
    s3: str, temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with front(s3, "model.bin") as passing:
        passing.hold = threading.Event()
        environ = {**os.environ, "AWS_ENDPOINT_URL_S3": passing.address}
        command = [sys.executable, "-c", FETCH, URL, str(temporary)]
        with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            graph = "lambda-embed-rerank/*.part/embedding/model.onnx"
            until = time.monotonic() + 30
            while not list(temporary.glob(graph)) and time.monotonic() < until:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        passing.hold.set()
    assert bundles(temporary) == []
    leftovers = {path.name for path in temporary.rglob("*") if path.is_file()}
    assert "model.onnx" in leftovers
    assert "model.bin" not in leftovers
    verify_bundle(fetched(temporary))
    assert log_lines(capsys)[0]["reused_bytes"] == len(FILES["model.onnx"])
    left = {path.name for path in temporary.rglob("*") if path.is_file()}
    assert left == {*FILES, "manifest.json", "lock"}


# In the function


def test_the_function_serves_a_fetched_bundle(
    tiny_bundle: Bundle, temporary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {
        "MODEL_DIR": str(tmp_path / "nothing"),
        "MODEL_BUNDLE_URL": f"file://{tiny_bundle.directory}",
        "TMPDIR": str(temporary),
        "PRELOAD": "embedding",
    }
    function = start(environ, PhaseClock())
    answer = function({"action": "embed", "texts": ["fetched"]}, Context())
    assert len(answer["embeddings"]) == 1
    lines = log_lines(capsys)
    assert [line["event"] for line in lines] == [
        *("bundle_fetch", "bundle_fetched", "cold_start", "invocation"),
    ]
    assert lines[2]["phases_ms"]["fetch"] > 0


def test_a_bundle_in_the_image_is_never_fetched(tiny_bundle: Bundle, temporary: Path) -> None:
    environ = {
        "MODEL_DIR": str(tiny_bundle.directory),
        "MODEL_BUNDLE_URL": "s3://nobody-asks-for-this",
        "TMPDIR": str(temporary),
        "PRELOAD": "",
    }
    start(environ, PhaseClock())
    assert not temporary.exists()


def test_neither_a_bundle_nor_a_place_to_fetch_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match="no model bundle at"):
        start({"MODEL_DIR": str(tmp_path / "unmounted")}, PhaseClock())
    (line,) = log_lines(capsys)
    assert (line["event"], line["code"]) == ("init_failed", "invalid_bundle")


def test_why_a_fetch_failed_is_in_the_log(
    tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"file://{tmp_path / 'nothing'}"
    environ = {"MODEL_DIR": str(tmp_path), "MODEL_BUNDLE_URL": url, "TMPDIR": str(temporary)}
    with pytest.raises(FetchError):
        start(environ, PhaseClock())
    (line,) = log_lines(capsys)
    assert (line["event"], line["code"]) == ("init_failed", "bundle_not_found")


def test_nothing_of_it_is_imported_unless_asked_for(tiny_bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys, lambda_app.handler;"
        "print([n for n in sys.modules if n.startswith(('lambda_app.bundle.fetch', 'boto'))])"
    )
    environ = {**os.environ, "MODEL_DIR": str(tiny_bundle.directory), "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    environ |= {"MODEL_DIR": str(tmp_path), "MODEL_BUNDLE_URL": f"file://{tiny_bundle.directory}"}
    environ["TMPDIR"] = str(tmp_path)
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "boto3" not in done.stdout.splitlines()[-1]
