"""``--eval``: the user's own data, what is wrong with it, and what it adds to the report."""

import json
from pathlib import Path

import pytest

from builder import cli
from builder.errors import EvaluationError
from builder.parity.evaluation import MAX_LINES, read_evaluation
from lambda_app.bundle import Bundle
from tests.support.builds import build_bundle, write_config
from tests.support.tiny_sources import TinySources

GOOD = """\
{"text": "The night train leaves at ten."}
"A plain string is a text, too."

{"query": "braking distance", "passage": "A loaded train needs a kilometre.", "relevance": 2}
{"query": "braking distance", "passage": "Knead the dough.", "relevance": 0}
{"query": "braking distance", "passage": "Air brakes work by losing pressure.", "relevance": 1}
{"query": "bread", "passage": "Knead the dough.", "relevance": 1}
{"query": "moon", "passage": "It turns once around itself in an orbit."}
"""


def written(directory: Path, content: str | bytes) -> Path:
    path = directory / "own.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_what_is_read(tmp_path: Path) -> None:
    found = read_evaluation(written(tmp_path, GOOD))
    assert found.texts == ("The night train leaves at ten.", "A plain string is a text, too.")
    assert list(found.rankings) == ["braking distance", "bread", "moon"]
    assert list(found.rankings["braking distance"].values()) == [2.0, 0.0, 1.0]
    assert found.judged() == ["braking distance", "bread"]
    assert len(found.passages()) == 4
    assert (found.name, len(found.sha256)) == ("own.jsonl", 64)


def test_separators_inside_a_string_are_no_ends_of_lines(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeff{"text": "one\u2028two"}\r\n{"text": "three"}\r\n')
    assert read_evaluation(path).texts == ("one\u2028two", "three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "fewer than two texts"),
        ('{"text": "only one"}', "fewer than two texts"),
        ('{"text": "a"}\n{"text": ', "own.jsonl line 2 is not JSON"),
        ("[" * 200_000, "line 1 is not JSON"),
        ('["a", "b"]', "line 1 is list"),
        ('{"text": "a", "label": 1}', "line 1 has the keys 'text', 'label': write one of"),
        ('{"query": "a"}', "line 1 has the keys 'query'"),
        ('{"text": 7}', "line 1: text is 7, write a text"),
        ('{"text": "  "}', "line 1: text is empty"),
        ('{"query": "a", "passage": null}', "line 1: passage is None"),
        ('{"text": "a\\u0000b"}', "NUL or a lone surrogate"),
        ('{"text": "a\\ud800"}', "NUL or a lone surrogate"),
        (json.dumps({"text": "a" * 100_001}), "has 100001 characters"),
        ('{"query": "a", "passage": "b", "relevance": -1}', "line 1: relevance is -1"),
        ('{"query": "a", "passage": "b", "relevance": true}', "relevance is True"),
        ('{"query": "a", "passage": "b", "relevance": NaN}', "relevance is nan"),
        ('{"query": "a", "passage": "b", "relevance": "high"}', "relevance is"),
        (
            '{"query": "a", "passage": "b"}\n{"query": "a", "passage": "b"}',
            "line 2 has a query and a passage",
        ),
        ('{"query": "a", "passage": "b", "relevance": 0}', "every relevance in it is 0"),
        ('"x"\n' * (MAX_LINES + 1), "take a sample"),
        (b'{"text": "caf\xe9"}', "not UTF-8 (byte 13)"),
    ],
)
def test_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        read_evaluation(written(tmp_path, content))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_report_has_both_models_gains(tiny_sources: TinySources, tmp_path: Path) -> None:
    own = read_evaluation(written(tmp_path, GOOD))
    out = build_bundle(
        tmp_path,
        evaluation=own,
        embedding=tiny_sources.embedder,
        reranker=tiny_sources.xlmr_reranker,
        quantization="none",
        parity="fail",
    )
    bundle = Bundle.open(out)
    for model in bundle.models():
        figures = model.parity["evaluation"]
        assert (figures["file"], figures["sha256"]) == ("own.jsonl", own.sha256)
        assert figures["judged_queries"] == 2
        assert 0 < figures["ndcg10"] <= 1
        assert figures["ndcg10"] == figures["reference_ndcg10"]  # FP32: the same order
        assert figures["ndcg10_loss"] == 0
    embedding, reranker = (model.parity["evaluation"] for model in bundle.models())
    # Two texts, three queries, four passages; a cross-encoder scores the pairs of the file.
    assert (embedding["texts"], embedding["mean_cosine"]) == (9, pytest.approx(1, abs=1e-5))
    assert (reranker["queries"], reranker["pairs"]) == (3, 5)


def test_own_data_can_fail_a_build(
    tiny_sources: TinySources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(tiny_sources.embedder)
    config = write_config(tmp_path, embedding=source, dimensions=[8], parity="warn", strict=True)
    own = written(tmp_path, GOOD)
    arguments = ["--config", str(config), "--out", str(tmp_path / "models"), "--eval", str(own)]
    assert cli.main(arguments, {}) == 0
    captured = capsys.readouterr()
    assert "(own.jsonl)" in captured.err
    assert "(in 8 dimensions)" in captured.err
    assert "embedding: 8 dimensions" in captured.out
    rows = [line.split() for line in captured.out.splitlines() if line.startswith("embedding: own.jsonl")]
    assert ["embedding:", "own.jsonl", "mean_cosine"] in [row[:3] for row in rows]
    assert any(row[-1] == "failed" and ">=" in row for row in rows)


def test_usage(tiny_sources: TinySources, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, reranker=str(tiny_sources.bert_reranker), parity="fail")
    texts = written(tmp_path, '"one"\n"two"\n')
    arguments = ["--config", str(config), "--out", str(tmp_path / "models")]
    for given, message in (
        (["--eval", str(tmp_path / "none.jsonl")], "none.jsonl: No such file"),
        (["--eval", str(texts)], "a cross-encoder scores pairs"),
        (["--eval", str(texts), "--parity", "off"], "that is off"),
    ):
        assert cli.main([*arguments, *given], {}) == 2
        printed = capsys.readouterr().err
        assert printed.startswith("error[invalid_evaluation]: ")
        assert message in printed
        assert not (tmp_path / "models").exists()
