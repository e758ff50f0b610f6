"""A text has the same vector, and a pair the same score, whatever it is sent with.

Of ``int8``, test_families.py and test_minilm.py show it on the bundles that they have.
"""

from pathlib import Path

import pytest

from builder.cli import main
from builder.sources.files import ModelFiles
from lambda_app.bundle import Bundle
from tests.support.builds import ROOT, build_bundle
from tests.support.invariance import check_invariance
from tests.support.tiny_sources import TinySources

SCHEMES = ["int8-vnni", "int8-block", "int4", "mixed"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme(scheme: str, tiny_sources: TinySources, tmp_path: Path) -> None:
    out = build_bundle(
        tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker, quantization=scheme
    )
    for model in Bundle.open(out).models():
        check_invariance(model)


@pytest.mark.minilm
@pytest.mark.long
@pytest.mark.parametrize("scheme", SCHEMES)
def test_minilm(scheme: str, minilm: ModelFiles, tmp_path: Path) -> None:
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--out", str(tmp_path / "models")]
    environ = {"MODEL_CACHE_DIR": str(minilm.directory.parent.parent)}
    assert main([*arguments, "--quantization", scheme, "--parity", "off"], environ) == 0
    model = Bundle.open(tmp_path / "models").embedding
    assert model is not None
    check_invariance(model)
