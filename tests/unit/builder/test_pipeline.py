"""A whole build: the same files from the same sources, and the bits of each architecture."""

from pathlib import Path

from lambda_app.bundle import Bundle, verify_bundle
from tests.support.builds import build_bundle, tiny_config
from tests.support.tiny_sources import TinySources


def test_the_same_sources_give_the_same_files(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    out = build_bundle(tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker)
    again = Bundle.open(out)
    assert verify_bundle(out) > 0
    for one, other in zip(tiny_bundle.models(), again.models(), strict=True):
        assert one.files == other.files
        assert one.fingerprint == other.fingerprint
    assert tiny_bundle.build == again.build


def test_arm64_keeps_eight_bits(tiny_sources: TinySources, tmp_path: Path) -> None:
    from dataclasses import replace

    from builder import pipeline
    from builder.inputs import gather_inputs
    from builder.progress import Progress

    config = replace(tiny_config(tmp_path, embedding=tiny_sources.embedder), arch="arm64")
    progress = Progress()
    built = pipeline.build(config, gather_inputs(config, tmp_path, progress), tmp_path / "models", progress)
    quantization = built[0].info.quantization
    assert (quantization.weight_bits, quantization.instruction_sets[0]) == (8, "neon")
