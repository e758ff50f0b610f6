"""Instruction sets: what this CPU has, and what the function says where a bundle was not checked for them."""

import json
import time
from pathlib import Path
from shutil import copytree

import pytest

from lambda_app import start
from lambda_app.bundle import Bundle, checksum
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.cpu import adds_alike, cpu_features, integer_kernel, is_checked

HASWELL = ["avx2", "f16c", "fma"]
SKYLAKE = [*HASWELL, "avx512f"]
ICE_LAKE = [*SKYLAKE, "avx512_vnni"]
SAPPHIRE_RAPIDS = [*ICE_LAKE, "amx_int8", "avx_vnni"]
GRAVITON2 = ["asimd", "asimddp"]
GRAVITON3 = [*GRAVITON2, "bf16", "i8mm", "sve"]
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


@pytest.mark.parametrize(
    ("features", "kernel"),
    [
        (HASWELL, "avx2"),
        (SKYLAKE, "avx512"),
        (ICE_LAKE, "avx512_vnni"),
        ([*HASWELL, "avx_vnni"], "avx_vnni"),
        (SAPPHIRE_RAPIDS, "amx_int8"),
        (["asimd"], "neon"),
        (GRAVITON2, "dotprod"),
        (GRAVITON3, "i8mm"),
        (["fma"], None),
    ],
)
def test_kernels(features: list[str], kernel: str | None) -> None:
    assert integer_kernel(features) == kernel


@pytest.mark.parametrize(
    ("instruction_sets", "features", "expected"),
    [
        (VNNI, ICE_LAKE, True),
        (VNNI, SAPPHIRE_RAPIDS, True),
        (("avx512_vnni",), SAPPHIRE_RAPIDS, True),
        (VNNI, HASWELL, False),
        (VNNI, SKYLAKE, False),
        (("avx512_vnni", "avx2"), SKYLAKE, True),
        (("avx2",), ICE_LAKE, False),
        (("dotprod",), GRAVITON3, True),
        (("avx2", "avx512_vnni"), GRAVITON2, False),
        (("generic",), HASWELL, True),
        ((), HASWELL, False),
        (("avx2",), ["fma"], False),
        (("avx2",), [], True),
    ],
)
def test_whether_a_bundle_was_checked(
    instruction_sets: tuple[str, ...], features: list[str], expected: bool
) -> None:
    assert is_checked(instruction_sets, features) is expected


def test_names_of_the_manifest_that_nobody_knows_are_only_like_themselves() -> None:
    assert adds_alike("new", "new")
    assert not adds_alike("new", "avx2")


def test_reading_the_features_takes_no_time() -> None:
    """Measured at 60 microseconds; a cold start takes some hundred thousand."""
    fastest = min(_seconds() for _ in range(20))
    assert fastest < 0.005


def _seconds() -> float:
    began = time.perf_counter()
    cpu_features()
    return time.perf_counter() - began


def log_lines(printed: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_a_bundle_for_another_cpu_is_one_line_in_the_log_and_shown(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copytree(tiny_bundle.directory, tmp_path / "models")
    manifest = json.loads((out / "manifest.json").read_text())
    for model in manifest["models"].values():
        model["quantization"]["instruction_sets"] = list(VNNI)
    manifest["checksum"] = checksum(manifest)
    (out / "manifest.json").write_text(json.dumps(manifest))
    environ = {"MODEL_DIR": str(out), "PRELOAD": "embedding"}
    for features, warned in ((HASWELL, True), (ICE_LAKE, False)):
        monkeypatch.setattr("lambda_app.start.cpu_features", lambda features=features: features)
        monkeypatch.setattr("lambda_app.api.providers.info.cpu_features", lambda features=features: features)
        dispatcher = start.start(environ, PhaseClock())
        warnings = [line for line in log_lines(capsys.readouterr().out) if line["level"] == "WARNING"]
        assert len(warnings) == warned
        if warned:
            assert warnings[0]["event"] == "cpu_not_checked"
            assert warnings[0]["cpu_features"] == HASWELL
            assert warnings[0]["instruction_sets"] == {"embedding": list(VNNI), "reranker": list(VNNI)}
        info = dispatcher({"action": "info"}, None)
        assert info["cpu"]["features"] == features
        assert info["models"]["embedding"]["quantization"]["instruction_sets"] == list(VNNI)
        assert info["models"]["embedding"]["quantization"]["checked_for_this_cpu"] is not warned
