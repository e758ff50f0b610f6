"""For which CPUs a bundle is checked: here, on emulated ones, and by the range of its weights."""

import platform
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.cli import main
from builder.parity import instruction_sets
from builder.parity.instruction_sets import cannot_saturate, check_instruction_sets
from builder.quantization.thresholds import EmbeddingThresholds, RerankerThresholds
from builder.sources.files import ModelFiles
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.cpu import cpu_features, integer_kernel
from tests.support.builds import ROOT, build_bundle
from tests.support.tiny_sources import TinySources

EMBEDDING = EmbeddingThresholds(0, 0, 0, 0, 0, 0)
RERANKER = RerankerThresholds(1, 1, 0, 0, 0)
ON_X86 = platform.machine() in ("x86_64", "amd64")
X86 = ("avx2", "avx512", "avx_vnni", "avx512_vnni", "amx_int8")
VNNI = ("avx_vnni", "avx512_vnni", "amx_int8")

needs_qemu = pytest.mark.skipif(
    not ON_X86 or not (shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")),
    reason="qemu-x86_64 is not installed (Debian: qemu-user), or this is no x86-64 machine",
)
# An 8-bit graph differs from itself on AVX2 only where this machine does not overflow, too.
needs_vnni = pytest.mark.skipif(
    integer_kernel(cpu_features()) not in VNNI, reason="this CPU has no VNNI to compare with"
)
needs_x86 = pytest.mark.skipif(not ON_X86, reason="this is no x86-64 machine")


def meant_for(model: ModelInfo | None, *names: str) -> ModelInfo:
    assert model is not None
    return model._replace(quantization=model.quantization._replace(instruction_sets=names))


@pytest.fixture(scope="module")
def eight_bits(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with weights as large as 8 bits allow: what 8-bit quantization gives, pointed."""
    root = tmp_path_factory.mktemp("eight-bits") / "models"
    shutil.copytree(tiny_bundle.directory, root)
    for model in tiny_bundle.models():
        path = root / model.task / "model.bin"
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        for tensor in model.tensors:
            if tensor.dtype == "int8" and "mbeddings" not in tensor.name:
                values = data[tensor.offset : tensor.offset + tensor.bytes].view(np.int8)
                values[:] = np.where(values >= 0, 127, -127)
        path.write_bytes(data.tobytes())
    return Bundle.open(root)


def test_weights_of_int8_cannot_saturate(tiny_bundle: Bundle, eight_bits: Bundle) -> None:
    assert [cannot_saturate(model) for model in tiny_bundle.models()] == [True, True]
    assert [cannot_saturate(model) for model in eight_bits.models()] == [False, False]


@needs_x86
def test_without_emulation_the_range_of_the_weights_is_what_tells(
    tiny_bundle: Bundle, eight_bits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    small, large = meant_for(tiny_bundle.embedding, *X86), meant_for(eight_bits.embedding, *X86)
    names, report, failures = check_instruction_sets(small, "x86_64", "auto", EMBEDDING)
    assert (names, failures) == (X86, [])
    assert report["emulation"]["skipped"] == "qemu-x86_64 is not installed (Debian: qemu-user)"
    native = integer_kernel(cpu_features())
    assert native is not None
    assert report["checked"][native] == "native"
    others = {how for name, how in report["checked"].items() if name != native}
    assert others == {"pairs of weights of at most 128"}
    names, report, failures = check_instruction_sets(large, "x86_64", "auto", EMBEDDING)
    assert (names, failures) == ((native,), [])
    *_, failures = check_instruction_sets(large, "x86_64", "require", EMBEDDING)
    assert failures == ["the answers could not be emulated: qemu-x86_64 is not installed (Debian: qemu-user)"]


def test_a_scheme_for_some_cpus_has_to_be_built_on_one(
    eight_bits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruction_sets, "cpu_features", lambda: ["avx2", "fma"])
    model = meant_for(eight_bits.embedding, *VNNI)
    names, report, failures = check_instruction_sets(model, "x86_64", "auto", EMBEDDING)
    assert names == ()
    assert len(failures) == 1
    assert "for CPUs with avx_vnni or avx512_vnni or amx_int8, and this one has avx2, fma" in failures[0]
    assert report["emulation"]["skipped"] == "the scheme is not meant for such a CPU"


def test_without_integers_every_cpu_is_the_same(tiny_sources: TinySources, tmp_path: Path) -> None:
    out = build_bundle(tmp_path, embedding=tiny_sources.embedder, quantization="none", parity="fail")
    model = Bundle.open(out).embedding
    assert model is not None
    assert model.quantization.instruction_sets == ("generic",)
    assert model.parity["cpus"] == {"checked": {"generic": "no integer products"}}


@needs_qemu
@needs_vnni
@pytest.mark.hardware
def test_eight_bits_fail_under_emulation_and_seven_pass(tiny_bundle: Bundle, eight_bits: Bundle) -> None:
    good = meant_for(tiny_bundle.embedding, *X86)
    names, report, failures = check_instruction_sets(good, "x86_64", "require", EMBEDDING)
    assert (names, failures) == (X86, [])
    assert report["checked"]["avx2"] == "emulated"
    assert report["emulation"]["emulated_cosine"] > 0.9999
    names, report, failures = check_instruction_sets(
        meant_for(eight_bits.embedding, *X86), "x86_64", "require", EMBEDDING
    )
    assert report["emulation"]["emulated_cosine"] < 0.99
    assert "avx2" not in names
    assert len(failures) == 1
    assert failures[0].startswith("emulated_cosine ")
    assert "on an emulated Haswell (avx2)" in failures[0]


@needs_qemu
def test_a_cross_encoder_under_emulation(tiny_bundle: Bundle) -> None:
    model = meant_for(tiny_bundle.reranker, *X86)
    names, report, failures = check_instruction_sets(model, "x86_64", "require", RERANKER)
    assert (names, failures) == (X86, [])
    assert report["emulation"]["answers"] == 6
    assert report["emulation"]["emulated_score_difference"] < 0.01


@needs_qemu
@needs_vnni
@pytest.mark.hardware
@pytest.mark.minilm
def test_the_gate_refuses_real_weights_of_eight_bits(
    minilm: ModelFiles,
    tmp_path: Path,
) -> None:
    """What arm64 gets is what x86-64 must not: the same model in 8 bits drifts on AVX2."""
    environ = {"MODEL_CACHE_DIR": str(minilm.directory.parent.parent)}
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--out", str(tmp_path / "models")]
    assert main([*arguments, "--arch", "arm64", "--parity", "off"], environ) == 0
    model = meant_for(Bundle.open(tmp_path / "models").embedding, *X86)
    _, report, failures = check_instruction_sets(model, "x86_64", "require", EMBEDDING)
    # Outliers moved into the weights leave fewer sums that overflow than plain rounding does (0.977): 0.9961.
    assert report["emulation"]["emulated_cosine"] < 0.998
    assert len(failures) == 1


@needs_x86
def test_arm64_without_a_python_for_it_is_said(tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = meant_for(tiny_bundle.embedding, "neon", "dotprod", "i8mm")
    environ = {"MODEL_ARM64_ROOT": str(tmp_path)}
    names, report, failures = check_instruction_sets(model, "arm64", "auto", EMBEDDING, environ)
    assert (names, failures) == ((), [])
    skipped = report["emulation"]["skipped"]
    assert "qemu-aarch64 is not installed" in skipped or "scripts.dev.arm64_root` makes one" in skipped


@needs_x86
@pytest.mark.long
def test_arm64_under_emulation(tiny_sources: TinySources, tmp_path: Path) -> None:
    """With Debian's Python for arm64 and the function's arm64 wheels: needs apt-get, a network and QEMU."""
    if not (
        shutil.which("apt-get") and (shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static"))
    ):
        pytest.skip("apt-get or qemu-aarch64 is not here (Debian: qemu-user)")
    from scripts.dev.arm64_root import make

    make(tmp_path / "arm64")
    sources = {"embedding": tiny_sources.embedder, "reranker": tiny_sources.xlmr_reranker}
    bundle = Bundle.open(build_bundle(tmp_path, **sources, parity="off"))
    environ = {"MODEL_ARM64_ROOT": str(tmp_path / "arm64")}
    bounds: tuple[tuple[str, EmbeddingThresholds | RerankerThresholds], ...] = (
        ("embedding", replace(EMBEDDING, min_cosine=0.97)),
        ("reranker", replace(RERANKER, max_score_difference=0.05)),
    )
    for task, thresholds in bounds:
        model = meant_for(getattr(bundle, task), "neon", "dotprod", "i8mm")
        names, report, failures = check_instruction_sets(model, "arm64", "require", thresholds, environ)
        assert (names, failures) == (("dotprod",), []), report
        assert report["checked"] == {"dotprod": "emulated"}
