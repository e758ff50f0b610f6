"""The image as Lambda runs it: what is in it, what it answers, and what it survives. `make test-image`."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.image.info import layers
from scripts.local.container import GID, UID, Container, ContainerError
from tests.support.function_checks import SERVED_EVENTS
from tests.support.mixed_requests import endless_requests

pytestmark = pytest.mark.image

EMBED = {"action": "embed", "texts": ["Yellow fever is transmitted by mosquitoes."], "input_type": "passage"}
# A tenth of the long run.
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "2000")) // 10
SETTLED = 200
MAX_GROWTH = 0.05
# What the image may add to its base beside its models: 560 MB with both full-size models, 390 MB of weights.
MAX_BESIDE_MODELS = 170e6
LONG_TEXT = "yellow fever is transmitted by mosquitoes and by nothing else that we know of " * 60


def read_event(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def ask(container: Container, script: str, *arguments: str) -> Any:
    """What a script prints as JSON in the container."""
    return json.loads(container.execute(script, *arguments).stdout)


# What is in it


def test_labels_entry_point_and_user(docker: str, image: str) -> None:
    config = json.loads(subprocess.check_output([docker, "image", "inspect", image]))[0]["Config"]
    assert config["Labels"]["com.amazonaws.lambda.feature.snapstart"] == "Allow"
    assert config["Labels"]["org.opencontainers.image.version"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["User"] == ""
    boot = "/var/task/lambda_app/coldstart/boot.pyc"
    python = ["/opt/venv/bin/python", "-I", "-S", "-B", boot]
    assert config["Entrypoint"] == ["/var/task/launcher", *python]
    assert config["Cmd"] == ["lambda_app.handler.handler"]
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]


FOUND = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))
"""


PRESENT = "import json, os, sys; print(json.dumps([path for path in sys.argv[1:] if os.path.exists(path)]))"


def test_nothing_of_the_build_is_in_it(container: Container) -> None:
    names = [
        "torch",
        "transformers",
        "optimum",
        "onnx",
        "huggingface_hub",
        "hf_xet",
        "requests",
        "builder",
    ]
    names += [
        "onnxruntime.transformers",
        "onnxruntime.quantization",
        "onnxruntime.tools",
        "numpy.f2py",
        "pip",
    ]
    assert ask(container, FOUND, *names) == []
    paths = ["/src", "/bundle", "/out", "/root/.cache", "/opt/build", "/opt/installer"]
    assert ask(container, PRESENT, *paths) == []


def test_only_an_image_without_a_bundle_has_an_aws_client(container: Container) -> None:
    bundled = ask(container, PRESENT, "/var/task/models/manifest.json") != []
    # Of an image with EXTRAS, see test_bulk_image.
    assert (ask(container, FOUND, "boto3", "duckdb", "fsspec") == []) is bundled


BYTECODE = """
import importlib.util, json, os, pathlib
from importlib.util import MAGIC_NUMBER
bad, count, unreadable = [], 0, []
for root in ("/opt/venv/lib", "/var/task"):
    for path in pathlib.Path(root).resolve().rglob("*"):
        if not os.access(path, os.R_OK):
            unreadable.append(str(path))
        if path.suffix == ".pyc":
            count += 1
            with path.open("rb") as stream:
                head = stream.read(8)
            # Flags of PEP 552: a hash, and unchecked.
            if head[:4] != MAGIC_NUMBER or head[4:] != bytes([1, 0, 0, 0]):
                bad.append(str(path))
        if path.suffix == ".py" and not os.path.exists(importlib.util.cache_from_source(str(path))):
            bad.append(str(path))
print(json.dumps({"bad": bad[:10], "count": count, "unreadable": unreadable[:10]}))
"""


def test_all_code_is_compiled_never_checked_again_and_readable_by_anyone(container: Container) -> None:
    found = ask(container, BYTECODE)
    assert found["bad"] == found["unreadable"] == []
    assert found["count"] > 500


UNCOMPILED = """
import json, os, runpy, sys
sys.argv = ["awslambdaric"]
from lambda_app.coldstart import import_pack
assert import_pack.install(os.environ["IMPORT_PACK"]) is None
import awslambdaric.__main__, lambda_app.start, lambda_app.api.http.app, mangum, lambda_app.models.session
import lambda_app.models.tokenizer.load, lambda_app.models.embedder, lambda_app.models.reranker
missing = [
    name for name, module in sys.modules.items()
    if (spec := getattr(module, "__spec__", None)) is not None
    and str(spec.origin).endswith(".py") and type(spec.loader).__name__ == "SourceFileLoader"
    and not os.path.exists(str(spec.cached))
]
print(json.dumps(missing))
"""


def test_a_start_compiles_nothing_of_the_standard_library_either(container: Container) -> None:
    assert ask(container, UNCOMPILED) == []


VERIFY = """
import json
from lambda_app.bundle import verify_bundle
print(json.dumps(verify_bundle("/var/task/models")))
"""


def test_the_bundle_in_it_is_the_one_that_was_built(container: Container) -> None:
    assert ask(container, VERIFY) > 1e5


def test_layers_go_by_rate_of_change_and_are_small(docker: str, image: str) -> None:
    sizes = layers(docker, image)
    assert list(sizes) == ["code", "models", "dependencies", "base"]
    assert sizes["dependencies"] + sizes["code"] < MAX_BESIDE_MODELS


# What it answers


@pytest.mark.parametrize("path", SERVED_EVENTS, ids=lambda path: path.stem)
def test_every_event_is_answered(container: Container, path: Path) -> None:
    event = read_event(path)
    answer = container.invoke(event)
    assert "errorMessage" not in answer, answer
    if path.stem == "malformed":
        assert answer["error"]["code"] == "invalid_field"
    elif "statusCode" in answer:
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"])
    else:
        assert "error" not in answer


FACTS = """
import json, os, pwd, socket
facts = {"uid": os.getuid(), "gid": os.getgid(), "shm": os.path.exists("/dev/shm")}
facts["cpus"] = os.listdir("/sys/devices/system/cpu")
facts["capabilities"] = [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")]
facts["wrote"] = []
for name in ("/x", "/var/task/x", "/opt/venv/x", "/var/tmp/x", "/tmp/x"):
    try:
        open(name, "w").close()
        facts["wrote"].append(name)
    except OSError:
        pass
try:
    socket.create_connection(("203.0.113.1", 443), timeout=1)
except OSError as error:
    facts["network"] = error.strerror
print(json.dumps(facts))
"""


def test_it_ran_as_in_lambda(container: Container) -> None:
    """What the other tests of this module prove nothing without."""
    assert ask(container, FACTS) == {
        "uid": UID,
        "gid": GID,
        "shm": False,
        "cpus": [],
        "capabilities": ["0000000000000000"],
        "wrote": ["/tmp/x"],
        "network": "Network is unreachable",
    }


def test_the_log_has_nothing_to_complain_of(docker: str, image: str) -> None:
    with Container(image, docker=docker) as quiet:
        quiet.invoke(EMBED)
        assert {record["event"] for record in quiet.log} == {"cold_start", "invocation"}
        noise = [line for line in quiet.log_text.splitlines() if "affinity" in line or "Warning" in line]
        assert noise == []


def test_the_same_vectors_at_every_memory_size(docker: str, image: str, container: Container) -> None:
    with Container(image, memory_mb=1024, docker=docker) as smaller:
        assert smaller.invoke(EMBED)["embeddings"] == container.invoke(EMBED)["embeddings"]


def full_size_request(container: Container, items: int) -> None:
    """Texts and documents that all fill the models, through both."""
    embedded = container.invoke({"action": "embed", "texts": [LONG_TEXT] * items, "encoding": "base64"})
    assert len(embedded["embeddings"]) == items, embedded
    assert embedded["truncated"] == list(range(items))
    ranked = container.invoke({"action": "rerank", "query": "yellow fever", "documents": [LONG_TEXT] * items})
    assert len(ranked["results"]) == items, ranked


def test_both_models_and_a_full_size_request_fit_1024_mb(docker: str, image: str) -> None:
    with Container(image, memory_mb=1024, docker=docker) as small:
        full_size_request(small, 64)
        first = small.runtime_pid
        full_size_request(small, 64)
        assert small.runtime_pid == first


# What it survives


def test_after_a_kill_the_next_start_serves(container: Container) -> None:
    expected = container.invoke(EMBED)
    container.kill_function()
    with pytest.raises(ContainerError, match=r"Runtime\.ExitError"):
        container.invoke(EMBED)
    assert container.invoke(EMBED) == expected


# The kernel ends whom it finds worst; anyone may say of a process of their own that it is.
EAT = """
import pathlib
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"/opt/venv/bin/python"):
        if b"boot.pyc" in (entry / "cmdline").read_bytes():
            (entry / "oom_score_adj").write_text("1000")
blocks = []
for _ in range(64):
    blocks.append(bytearray(b"x" * (16 << 20)))
"""


def test_after_running_out_of_memory_the_next_start_serves(docker: str, image: str) -> None:
    with Container(image, memory_mb=1024, docker=docker) as container:
        expected = container.invoke(EMBED)
        first = container.runtime_pid
        container.execute(EAT, check=False)
        assert container.runtime_pid != first
        with pytest.raises(ContainerError, match=r"Runtime\.ExitError"):
            container.invoke(EMBED)
        assert container.invoke(EMBED) == expected


FILL = """
try:
    with open("/tmp/full", "wb", buffering=0) as stream:
        while stream.write(b"0" * (1 << 20)):
            pass
except OSError as error:
    print(error.strerror)
"""


def test_with_a_full_tmp_the_next_start_serves(docker: str, image: str, container: Container) -> None:
    with Container(image, tmp_bytes=8 << 20, docker=docker) as full:
        assert full.execute(FILL).stdout.strip() == "No space left on device"
        assert full.invoke(EMBED) == container.invoke(EMBED)


def test_without_a_bundle_init_says_so(docker: str, image: str) -> None:
    with Container(image, environment={"MODEL_DIR": "/mnt/efs"}, docker=docker) as unbundled:
        with pytest.raises(ContainerError, match=r"no model bundle at /mnt/efs.*Build one with") as failure:
            unbundled.invoke(EMBED)
        assert '"errorType": "BundleError"' in str(failure.value)


def test_a_mounted_bundle_serves(docker: str, image: str, container: Container, bundle_copy: Path) -> None:
    """As with a file system (EFS) in place of the models in the image."""
    with Container(
        image, environment={"MODEL_DIR": "/mnt/efs"}, volumes={bundle_copy: "/mnt/efs"}, docker=docker
    ) as mounted:
        assert mounted.invoke(EMBED) == container.invoke(EMBED)


# How long it lasts


def resident_kilobytes(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def soak(container: Container, count: int) -> None:
    """Mixed requests; memory after the last is within 5% of that after the first 200 (or half, if fewer)."""
    settled_at = min(SETTLED, count // 2)
    settled, pid = 0, None
    for number, event in enumerate(itertools.islice(endless_requests(), count), 1):
        answer = container.invoke(event)
        assert "errorMessage" not in answer, answer
        if number == settled_at:
            pid = container.runtime_pid
            settled = resident_kilobytes(pid)
    last = resident_kilobytes(container.runtime_pid)
    print(
        f"{count} requests: {settled / 1024:.0f} MB after {settled_at}, {last / 1024:.0f} MB after the last"
    )
    assert container.runtime_pid == pid
    assert last < settled * (1 + MAX_GROWTH)


def test_memory_stays(docker: str, image: str) -> None:
    with Container(image, memory_mb=1024, docker=docker) as container:
        soak(container, REQUESTS)


@pytest.mark.soak
def test_memory_stays_with_the_full_size_pair(docker: str, full_size_image: str) -> None:
    with Container(full_size_image, memory_mb=1769, docker=docker) as container:
        soak(container, REQUESTS * 10)


@pytest.mark.soak
def test_the_full_size_pair_and_a_full_size_request_fit_1024_mb(docker: str, full_size_image: str) -> None:
    with Container(full_size_image, memory_mb=1024, docker=docker) as small:
        for items in random.Random(1).sample((8, 16, 32), 3):
            full_size_request(small, items)
        first = small.runtime_pid
        full_size_request(small, 32)
        assert small.runtime_pid == first


@pytest.mark.soak
def test_the_full_size_pair_adds_560_mb_or_less(docker: str, full_size_image: str) -> None:
    sizes = layers(docker, full_size_image)
    print(sizes)
    assert sum(sizes.values()) - sizes["base"] < 560e6
