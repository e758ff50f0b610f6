"""What makes, slims and describes the image, where it needs no engine."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.image import slim_packages
from scripts.image.build import ImageError, build_command, bundle_choice, content, image_name
from scripts.image.info import report
from scripts.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile.lambda").read_text(encoding="utf-8")


# The name, labels and arguments of a build


def test_the_tag_carries_models_scheme_and_version() -> None:
    assert image_name({}, content({})) == "lambda-embed-rerank:e5-base-int8-v1"
    plain = {"USE_QUANTIZATION": "false", "MODEL_VERSION": "v7", "ARCH": "arm64"}
    assert image_name(plain, content(plain)) == "lambda-embed-rerank:e5-base-fp32-v7-arm64"
    small = {"CONFIG": "models.minilm.toml", "QUANTIZATION": "none"}
    assert image_name(small, content(small)) == "lambda-embed-rerank:all-minilm-l6-fp32-v1"
    none = {"BUNDLE_MODELS": "false"}
    assert image_name(none, content(none)) == "lambda-embed-rerank:unbundled-v1"
    assert image_name({"IMAGE": "mine:1"}, content({})) == "mine:1"
    # An image with more in it does not take the place of the plain one.
    extras = {"EXTRAS": "bulk", "ARCH": "arm64"}
    assert image_name(extras, content(extras)) == "lambda-embed-rerank:e5-base-int8-v1-bulk-arm64"


def test_labels_name_models_and_revisions() -> None:
    labels = content({}).labels
    assert labels["embedding"] == "intfloat/e5-base-v2@1c644c92ad3ba1efdad3f1451a637716616a20e8"
    assert labels["reranker"] == "BAAI/bge-reranker-base@2cfc18c9415c912f9d8155881c133215df768a70"
    assert labels["quantization"] == "int8"
    assert content({"CONFIG": "models.minilm.toml"}).labels["reranker"] == "bi-encoder"


def test_a_prebuilt_bundle_names_itself(tiny_bundle: Any) -> None:
    held = content({"BUNDLE_FROM": "prebuilt"}, tiny_bundle.directory)
    assert held.name == "tiny-embedder-int8"
    assert held.labels["embedding.fingerprint"] == tiny_bundle.embedding.fingerprint


def test_a_broken_bundle_is_found_before_the_build(tiny_bundle: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no model bundle at"):
        content({"BUNDLE_FROM": "prebuilt"}, tmp_path)
    shutil.copytree(tiny_bundle.directory, tmp_path / "models")
    weights = tmp_path / "models" / "embedding" / "model.bin"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ImageError, match=r"embedding/model\.bin was altered"):
        content({"BUNDLE_FROM": "prebuilt"}, tmp_path / "models")


def test_bundle_models_false_means_none() -> None:
    assert bundle_choice({}) == "built"
    assert bundle_choice({"BUNDLE_FROM": "prebuilt", "BUNDLE_MODELS": "false"}) == "none"
    with pytest.raises(ImageError, match="one of built, prebuilt, none"):
        bundle_choice({"BUNDLE_FROM": "elsewhere"})
    with pytest.raises(ImageError, match="true or false"):
        bundle_choice({"BUNDLE_MODELS": "perhaps"})


def test_arguments_and_flags_reach_docker() -> None:
    environ = {
        "PYTHON_IMAGE": "mirror/python:3.13-slim",
        "TORCH_INDEX_URL": "",
        "RERANKER_MODEL": "none",
        "QUANTIZATION": "",
        "ARCH": "arm64",
        "IMAGE_FLAGS": "--network host --label 'a=b c'",
    }
    command = build_command(environ, content(environ), "docker")
    arguments = [value for name, value in itertools.pairwise(command) if name == "--build-arg"]
    assert arguments == ["PYTHON_IMAGE=mirror/python:3.13-slim", "RERANKER_MODEL=none", "TORCH_INDEX_URL="]
    assert command[command.index("--platform") + 1] == "linux/arm64"
    assert command[-5:] == ["--network", "host", "--label", "a=b c", "."]
    assert "org.opencontainers.image.base.name=mirror/python:3.13-slim" in command
    with pytest.raises(ImageError, match="x86_64, arm64"):
        build_command({"ARCH": "arm32"}, content({}), "docker")


# The Dockerfile


def test_every_argument_of_make_image_is_one_of_the_dockerfiles() -> None:
    from scripts.image.build import BUILD_ARGUMENTS

    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert set(BUILD_ARGUMENTS) <= declared


def test_the_dockerfile_builds_with_the_legacy_builder_and_without_a_registry() -> None:
    assert not DOCKERFILE.startswith("# syntax")
    code = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    assert "--mount" not in code
    assert "<<" not in code
    assert not re.search(r"^USER", code, re.MULTILINE)


def test_the_build_stage_has_every_module_that_a_bundle_needs() -> None:
    """And no other of the function's, whose change would build the models again."""
    stage = DOCKERFILE.partition(" AS models-built\n")[2].partition("\nFROM ")[0]
    copied = set(re.findall(r"lambda_app/(?!models)([\w/]+\.py)", stage))
    needed = {"__init__.py"}
    waiting = [*(ROOT / "builder").rglob("*.py"), ROOT / "build_models.py"]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lambda_app."):
                path = ROOT.joinpath(*str(node.module).split("."))
                path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
                name = path.relative_to(ROOT / "lambda_app").as_posix()
                if name not in needed:
                    needed.add(name)
                    waiting.append(path)
                    # Importing a module imports its package.
                    needed.add(path.with_name("__init__.py").relative_to(ROOT / "lambda_app").as_posix())
    assert copied == {name for name in needed if not name.startswith("models/")}
    assert "COPY lambda_app/models lambda_app/models" in stage


# Slimming, compiling, reporting


def test_slimming_removes_what_is_listed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ("numpy/random", "**/tests", "**/*.pyi", "onnxruntime/capi/libonnxruntime.so*")
    assert set(listed) <= slim_packages.PATTERNS.keys()
    site = tmp_path / "site-packages"
    files = {
        "hf_xet/core.so": 100,
        "hf_xet-1.0.dist-info/METADATA": None,
        "numpy/core.py": 10,
        "numpy/random/mtrand.so": 50,
        "numpy/lib/tests/test_lib.py": 20,
        "numpy/__init__.pyi": 5,
        "onnxruntime/capi/libonnxruntime.so.1.32.0": 70,
        "onnxruntime/capi/onnxruntime_pybind11_state.so": 70,
    }
    for name, size in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            b"Metadata-Version: 2.1\nName: hf-xet\nVersion: 1.0\n" if size is None else b"0" * size
        )
    (site / "hf_xet-1.0.dist-info" / "RECORD").write_text(
        "hf_xet/core.so,,\nhf_xet-1.0.dist-info/METADATA,,\nhf_xet-1.0.dist-info/RECORD,,\n", encoding="utf-8"
    )
    monkeypatch.setattr(slim_packages, "DISTRIBUTIONS", {"hf-xet": "downloads"})
    monkeypatch.setattr(slim_packages, "PATTERNS", dict.fromkeys(listed, "a reason"))
    removed = slim_packages.slim(site)
    assert removed["hf-xet"] > 100
    assert removed["numpy/random"] == 50
    assert removed["**/tests"] == 20
    assert removed["onnxruntime/capi/libonnxruntime.so*"] == 70
    left = sorted(str(path.relative_to(site)) for path in site.rglob("*"))
    assert left == [
        "numpy",
        "numpy/core.py",
        "onnxruntime",
        "onnxruntime/capi",
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
    ]


@pytest.mark.parametrize(
    ("distributions", "patterns", "named"),
    [
        ({"renamed": ""}, {"a.py": ""}, "renamed"),
        ({"other": ""}, {"a.py": "", "moved/*": ""}, r"moved/\*"),
        ({"other": ""}, {"numpy/distutils": ""}, None),
    ],
)
def test_what_matches_nothing_fails_and_is_named(
    distributions: dict[str, str],
    patterns: dict[str, str],
    named: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", encoding="utf-8")
    (tmp_path / "a.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(slim_packages, "DISTRIBUTIONS", distributions)
    monkeypatch.setattr(slim_packages, "PATTERNS", patterns)
    if named is None:
        assert slim_packages.slim(tmp_path) == {}
        return
    with pytest.raises(slim_packages.UnmatchedError, match=f"nothing matches {named}:"):
        slim_packages.slim(tmp_path)
    assert (tmp_path / "a.py").exists()


def test_slimming_keeps_what_an_aws_client_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slim_packages, "DISTRIBUTIONS", {"urllib3": ""})
    monkeypatch.setattr(slim_packages, "PATTERNS", {})
    for name in ("botocore", "urllib3"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n", encoding="utf-8")
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("x = 1\n", encoding="utf-8")
    for service in ("s3", "s3vectors", "sts", "sso", "sso-oidc", "ec2"):
        (tmp_path / "botocore" / "data" / service).mkdir(parents=True)
        (tmp_path / "botocore" / "data" / service / "service-2.json").write_text("{}", encoding="utf-8")
    assert slim_packages.slim(tmp_path) == {slim_packages.BOTOCORE_DATA: 2}
    assert (tmp_path / "urllib3" / "__init__.py").exists()
    assert (tmp_path / "botocore" / "data" / "s3").exists()
    (tmp_path / "botocore" / "data" / "sts" / "service-2.json").unlink()
    (tmp_path / "botocore" / "data" / "sts").rmdir()
    with pytest.raises(slim_packages.UnmatchedError, match="botocore/data/sts"):
        slim_packages.slim(tmp_path)


def test_nothing_is_slimmed_outside_a_virtual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert slim_packages.main() == 2


def test_the_standard_library_is_compiled_where_it_is_looked_for(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "image" / "compile_stdlib.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    spec = importlib.util.find_spec("json.decoder")
    assert spec is not None
    compiled = tmp_path / str(spec.cached).lstrip("/")
    # Magic number, then PEP 552's flags: a hash that is not checked.
    assert compiled.read_bytes()[:8] == importlib.util.MAGIC_NUMBER + bytes([1, 0, 0, 0])
    assert [path for path in tmp_path.rglob("*.pyc") if "site-packages" in str(path)] == []


def test_the_report_says_what_is_wrong_with_a_bundle() -> None:
    contents: dict[str, Any] = {
        "python": "3.13.5",
        "machine": "x86_64",
        "models": [],
        "packages": [["numpy", "2", 1]],
    }
    contents["problem"] = "no model bundle at /var/task/models"
    text = report("image:tag", {"Labels": {"a": "b"}}, {"code": 2_000_000, "base": 3_000_000}, contents)
    assert "5.0 MB, of which 2.0 MB are added to the base" in text
    assert "none that can be used: no model bundle at /var/task/models" in text


def test_the_images_benchmark_tells_what_it_measured() -> None:
    from benchmarks.image import Row, summary
    from benchmarks.measure.image_chunks import Touched

    row = Row("INT8, in the image", None, 12.0, 516_000_000, 0.9, 1.1, 300_000_000, 600_000_000, 0.5)
    text = summary([row], Touched(600_000_000, 200_000_000, 250 << 20, {"usr": 5_000_000}))
    assert re.search(r"INT8, in the image +- +12 +516 MB +0\.90 +1\.10 +300 MB +600 MB +0\.50", text)
    assert "500 chunks of 512 KiB: 262 MB of 600 MB (44%); 200 MB of pages were read" in text


# What a library carries behind what is loaded


def test_a_library_without_its_symbols_loads_and_works(tmp_path: Path) -> None:
    import marisa_trie

    whole = Path(marisa_trie.__file__)
    library = tmp_path / whole.name
    shutil.copyfile(whole, library)
    cut = slim_packages.drop_symbols(library)
    assert cut > 0
    assert library.stat().st_size == whole.stat().st_size - cut
    assert slim_packages.drop_symbols(library) == 0
    script = "import marisa_trie; print(marisa_trie.__file__, marisa_trie.Trie(['a', 'ab']).prefixes('abc'))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split(maxsplit=1) == [str(library), "['a', 'ab']\n"]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), b"text" * 100])
def test_what_is_no_library_of_64_bits_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(content)
    assert slim_packages.drop_symbols(path) == 0
    assert path.read_bytes() == content
