"""Jobs for real: the template's state machine in MiniStack, the function under emulators, real weights.

MiniStack reads the plan and runs the Distributed Map as AWS does. It ignores ``ResultWriter``, IAM and the
limit of 256 KiB of a state, and it has no Express children: none of these is proved here.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from lambda_app.bulk import aws
from scripts.bulk.corpus import Corpus, corpus, document
from scripts.bulk.estimate import estimate
from scripts.bulk.local_stack import MEMORY_MB, LocalStack, local_stack
from scripts.bulk.progress import State, bar
from scripts.bulk.run import JobError, run, summary_lines
from tests.support.bulk_jobs import vector

pytestmark = [
    pytest.mark.bulk,
    pytest.mark.minilm,
    # Connections that boto3's pool drops are closed by the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# All of 20,000 with BULK_ROWS=20000, as ``make test-bulk`` does.
ROWS = int(os.environ.get("BULK_ROWS", "2000"))
IN, OUT = "texts", "vectors"
MACHINE = os.uname().machine
# A text's vector depends in its third digit on what it was batched with.
MIN_COSINE = 0.99


@pytest.fixture(scope="module")
def stack(rie: Path, minilm: Path) -> Iterator[LocalStack]:
    """Two functions of eight seconds, which is not enough for a part with thousands of rows."""
    with local_stack(minilm.resolve(), emulators=2, concurrency=4, tolerated=50, timeout=8) as running:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in running.environment.items():
                patch.setenv(name, value)
            aws.forget_clients()
            for bucket in (IN, OUT):
                running.client("s3").create_bucket(Bucket=bucket)
            yield running
        aws.forget_clients()


@pytest.fixture(scope="module")
def made(stack: LocalStack) -> Corpus:
    found = corpus(ROWS)
    for key, content in found.objects.items():
        stack.client("s3").put_object(Bucket=IN, Key=f"corpus/{key}", Body=content)
    return found


def fields(output: str, **changes: Any) -> dict[str, Any]:
    base = {
        "source": f"s3://{IN}/corpus",
        "output": f"s3://{OUT}/{output}",
        "encoding": "base64",
        # About seven parts, whatever the number of rows is.
        "part_bytes": max(1024, ROWS * 12),
        "tolerated_failure_percentage": 1,
    }
    return base | changes


def start(stack: LocalStack, job: dict[str, Any], **options: Any) -> dict[str, Any]:
    return run(
        stack.client("stepfunctions"),
        stack.machine,
        job,
        memory_mb=MEMORY_MB,
        architecture=MACHINE,
        **options,
    )


def keys(stack: LocalStack, prefix: str) -> list[str]:
    pages = stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=OUT, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def stored(stack: LocalStack, prefix: str) -> dict[str, Any]:
    """When each object below a prefix was written."""
    client = stack.client("s3")
    return {key: client.head_object(Bucket=OUT, Key=key)["LastModified"] for key in keys(stack, prefix)}


def content(stack: LocalStack, key: str) -> bytes:
    body: bytes = stack.client("s3").get_object(Bucket=OUT, Key=key)["Body"].read()
    return body


def lines(stack: LocalStack, prefix: str) -> list[dict[str, Any]]:
    found = []
    for key in sorted(keys(stack, prefix)):
        text = content(stack, key)
        text = gzip.decompress(text) if key.endswith(".gz") else text
        found += [json.loads(line) for line in text.decode().split("\n") if line]
    return found


def assert_complete(stack: LocalStack, made: Corpus, output: str) -> dict[str, np.ndarray]:
    """Rows in are rows out and errors, each once; returns vectors by id."""
    found = lines(stack, f"{output}/parts/")
    assert len(found) == len({line["id"] for line in found}) == len(made.rows)
    assert {line["id"] for line in found} == made.rows.keys()
    errors = lines(stack, f"{output}/errors/errors-")
    places: dict[str, list[int]] = {}
    for error in errors:
        places.setdefault(error["object"].rpartition("/")[2], []).append(error["line"])
    assert {name: sorted(numbers) for name, numbers in places.items()} == made.bad
    return {line["id"]: vector(line["vector"]) for line in found}


@pytest.fixture(scope="module")
def first(stack: LocalStack, made: Corpus) -> dict[str, Any]:
    """The job, run once."""
    return start(stack, fields("first"))


def test_every_row_is_there_once_and_every_bad_line_is_named(
    stack: LocalStack, made: Corpus, first: dict[str, Any]
) -> None:
    refused = sum(map(len, made.bad.values()))
    assert refused > 0
    assert first["rows"] == {"in": len(made.rows) + refused, "out": len(made.rows), "refused": refused}
    assert_complete(stack, made, "first")
    manifest = json.loads(content(stack, "first/manifest.json"))
    assert {part["key"] for part in manifest["parts"]} == set(keys(stack, "first/parts/"))
    # Some parts are byte ranges that begin in the middle of a line, and of a character.
    assert sum(part["begin"] > 0 for part in manifest["parts"]) > 3
    assert any(line.startswith("cost ") for line in summary_lines(first))


def test_vectors_are_those_of_a_direct_call_row_by_row(
    stack: LocalStack, made: Corpus, first: dict[str, Any]
) -> None:
    found = assert_complete(stack, made, "first")
    names = list(made.rows)
    for begin in range(0, len(names), 500):
        some = names[begin : begin + 500]
        event = {"action": "embed", "texts": [made.rows[name] for name in some], "encoding": "base64"}
        answer = stack.client("lambda").invoke(FunctionName="pipeline", Payload=json.dumps(event).encode())
        direct = json.loads(answer["Payload"].read())["embeddings"]
        for name, value in zip(some, direct, strict=True):
            assert float(found[name] @ vector(value)) > MIN_COSINE, name


def test_the_same_job_resumed_embeds_nothing_again(
    stack: LocalStack, made: Corpus, first: dict[str, Any]
) -> None:
    key = keys(stack, "first/parts/")[0]
    stack.client("s3").delete_object(Bucket=OUT, Key=key)
    before = stored(stack, "first/parts/")
    again = start(stack, fields("first", resume=True))
    assert again["rows"] == first["rows"]
    assert_complete(stack, made, "first")
    # What was there is as old as it was; what was deleted is there again.
    after = stored(stack, "first/parts/")
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {key}


def test_a_child_that_is_killed_in_the_middle_is_repeated(
    stack: LocalStack, made: Corpus, first: dict[str, Any]
) -> None:
    lost = stack.pool.lost
    killed = [0]

    def kill() -> None:
        # Once a file is there, so that others are being made.
        if not killed[0] and keys(stack, "killed/parts/"):
            killed[0] += stack.pool.kill()

    summary = start(stack, fields("killed"), watch=kill)
    assert killed[0] == 1
    assert summary["rows"] == first["rows"]
    assert_complete(stack, made, "killed")
    assert stack.pool.lost >= lost


def test_a_part_that_no_time_out_is_enough_for_goes_on(stack: LocalStack, made: Corpus) -> None:
    # One part, of an object of some ten seconds of work or more: the function has eight.
    texts = [*made.rows.values()]
    rows = [
        {"id": f"long-{number}", "text": " ".join(texts[number % 100 : number % 100 + 12])}
        for number in range(1_200)
    ]
    text = "\n".join(map(json.dumps, rows))
    stack.client("s3").put_object(Bucket=IN, Key="long/long.jsonl", Body=text.encode())
    before = stack.pool.invocations
    job = fields("long", source=f"s3://{IN}/long", part_bytes=100_000_000)
    summary = start(stack, job)
    assert summary["rows"] == {"in": 1_200, "out": 1_200, "refused": 0}
    assert summary["parts"] == 1
    # Plan, finish, and the part again and again.
    assert stack.pool.invocations - before >= 4
    found = lines(stack, "long/parts/")
    assert [line["id"] for line in found] == [f"long-{number}" for number in range(1_200)]
    assert len(keys(stack, "long/parts/")) >= 2


def test_a_document_of_4000_tokens_is_cut_by_the_models_own_tokenizer(stack: LocalStack) -> None:
    row = document()
    stack.client("s3").put_object(Bucket=IN, Key="long-document/a.jsonl", Body=json.dumps(row).encode())
    job = fields("document", source=f"s3://{IN}/long-document", chunk={"tokens": 200, "overlap": 40})
    summary = start(stack, job)
    assert summary["rows"] == {"in": 1, "out": 1, "refused": 0}
    assert summary["truncated"] == 0
    pieces = lines(stack, "document/parts/")
    assert [piece["id"] for piece in pieces] == [f"document#{number}" for number in range(len(pieces))]
    assert len(pieces) >= 20
    texts = [row["text"][piece["start"] : piece["end"]] for piece in pieces]
    event = {"action": "embed", "texts": texts, "encoding": "base64"}
    answer = stack.client("lambda").invoke(FunctionName="pipeline", Payload=json.dumps(event).encode())
    direct = json.loads(answer["Payload"].read())
    # Each text has two special tokens.
    assert direct["usage"]["tokens"] <= len(texts) * 202
    assert direct["usage"]["tokens"] >= (len(texts) - 1) * 195
    assert direct["truncated"] == []
    for piece, value in zip(pieces, direct["embeddings"], strict=True):
        assert float(vector(piece["vector"]) @ vector(value)) > MIN_COSINE
    # Nothing is left out but spaces, and pieces overlap.
    assert pieces[0]["start"] == 0
    assert pieces[-1]["end"] == len(row["text"])
    for one, other in pairwise(pieces):
        assert one["start"] < other["start"] < one["end"]


def test_parquet_is_read_back_with_duckdb(
    stack: LocalStack, made: Corpus, first: dict[str, Any], tmp_path: Path
) -> None:
    source = f"s3://{IN}/corpus/c.csv"
    start(stack, fields("parquet", source=source, format="parquet", metadata_fields=["text"]))
    for key in keys(stack, "parquet/parts/"):
        (tmp_path / key.rpartition("/")[2]).write_bytes(content(stack, key))
    expected = {line["id"]: vector(line["vector"]) for line in lines(stack, "first/parts/")}
    with duckdb.connect() as database:
        query = f"SELECT id, vector, text FROM read_parquet('{tmp_path}/*.parquet')"
        found = database.execute(query).fetchall()
        # What a user would do with them.
        nearest = database.execute(
            f"""SELECT id FROM read_parquet('{tmp_path}/*.parquet')
            ORDER BY list_inner_product(vector, ?::FLOAT[]) DESC LIMIT 1""",
            [found[0][1]],
        ).fetchall()
    assert nearest == [(found[0][0],)]
    assert len(found) == len({row[0] for row in found}) == ROWS // 10
    for key, values, text in found:
        assert text == made.rows[key]
        assert float(vector(values) @ expected[key]) > MIN_COSINE


def test_too_many_bad_rows_fail_the_job_with_a_manifest_of_why(stack: LocalStack, made: Corpus) -> None:
    source = f"s3://{IN}/corpus/a.jsonl"
    with pytest.raises(JobError, match="too_many_refused"):
        start(stack, fields("strict", source=source, tolerated_failure_percentage=0, part_bytes=100_000_000))
    failed = json.loads(content(stack, "strict/manifest.failed.json"))
    assert failed["failure"]["code"] == "too_many_refused"
    assert "strict/manifest.json" not in keys(stack, "strict/")


def test_an_object_that_cannot_be_read_fails_the_job_and_no_other_part(stack: LocalStack) -> None:
    client = stack.client("s3")
    client.put_object(Bucket=IN, Key="mixed/a.jsonl.gz", Body=b"not gzip")
    client.put_object(Bucket=IN, Key="mixed/b.jsonl", Body=b'{"id": "b", "text": "good"}\n')
    job = fields("mixed", source=f"s3://{IN}/mixed")
    with pytest.raises(JobError, match=r"rows_missing.*resume"):
        start(stack, job)
    assert [line["id"] for line in lines(stack, "mixed/parts/")] == ["b"]
    client.put_object(Bucket=IN, Key="mixed/a.jsonl.gz", Body=gzip.compress(b'{"id": "a", "text": "good"}'))
    assert start(stack, job | {"resume": True})["rows"]["out"] == 2


def test_a_job_without_a_row_succeeds(stack: LocalStack) -> None:
    stack.client("s3").put_object(Bucket=IN, Key="nothing/empty.jsonl", Body=b"")
    summary = start(stack, fields("nothing", source=f"s3://{IN}/nothing"))
    assert summary["rows"] == {"in": 0, "out": 0, "refused": 0}


def test_a_job_that_cannot_be_planned_says_why(stack: LocalStack) -> None:
    with pytest.raises(JobError, match=r"object_not_found.*nothing to embed"):
        start(stack, fields("none", source=f"s3://{IN}/none"))


def test_an_estimate_is_near_what_comes_of_it(stack: LocalStack, made: Corpus, first: dict[str, Any]) -> None:
    estimated = estimate(
        stack.client("lambda"),
        "pipeline",
        fields("first"),
        memory_mb=MEMORY_MB,
        architecture=MACHINE,
        concurrency=2,
    )
    assert estimated.rows == pytest.approx(first["rows"]["in"], rel=0.35)
    assert estimated.tokens == pytest.approx(first["tokens"], rel=0.4)
    assert estimated.dollars["total"] > 0


def test_the_bar_shows_rows_speed_time_left_and_cost() -> None:
    shown = bar(State(rows=5_000, refused=3, seconds=10.0, share=0.25, dollars=0.0123))
    assert re.fullmatch(
        r"\[#{6}\.{18}\]  25%  5,000 rows, 3 refused  500 rows/s  30 s left  \$0\.0123", shown
    )
    assert "? left" in bar(State(0, 0, 0.0, None, 0.0))
