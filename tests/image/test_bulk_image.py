"""The image with EXTRAS=bulk: jobs over S3 run in it, and it is no other image for any other request.

It is built from the bundle of the image under test, which takes a minute:
``python -m pytest -m "image and long" tests/image/test_bulk_image.py`` after ``make image``.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from benchmarks.harness.images import build_from
from benchmarks.image import internal_network
from scripts.dev import local_s3
from scripts.image.build import LABEL, REPOSITORY
from scripts.image.info import layers
from scripts.local.container import Container
from tests.support.bulk_jobs import vector

pytestmark = [
    pytest.mark.image,
    pytest.mark.long,
    # Connections that boto3's pool drops are closed by the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAME = f"{REPOSITORY}:test-bulk"
# boto3 with botocore, DuckDB and fsspec: see docs/BULK.md.
MAX_MORE_BYTES = 110e6
TEXTS = ["Yellow fever is transmitted by mosquitoes.", "Bread rises.", "蚊"]
ROWS = [{"id": str(number), "text": TEXTS[number % 3]} for number in range(300)]
# The packages that a start and a request import.
IMPORTED = """
import json, sys
from lambda_app.handler import handler
assert "embeddings" in handler({"action": "embed", "texts": ["a"]}, None)
print()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
EXTRAS = {"boto3", "botocore", "s3transfer", "urllib3", "jmespath", "dateutil", "duckdb", "_duckdb", "fsspec"}


@pytest.fixture(scope="module")
def bulk_image(docker: str, bundle_copy: Path) -> Iterator[str]:
    build_from(bundle_copy, {"IMAGE": NAME, "EXTRAS": "bulk"}, docker)
    yield NAME
    subprocess.run([docker, "image", "rm", NAME], check=True, capture_output=True)


@pytest.fixture(scope="module")
def s3_and_container(docker: str, bulk_image: str) -> Iterator[tuple[Any, Container]]:
    """An S3 that the container reaches, and the container."""
    with internal_network(docker) as (network, address), local_s3.s3_server(address) as server:
        environment = {**local_s3.ENVIRONMENT, "AWS_ENDPOINT_URL": server}
        s3 = local_s3.client(server)
        for bucket in ("texts", "vectors"):
            s3.create_bucket(Bucket=bucket)
        with Container(bulk_image, environment=environment, network=network, docker=docker) as running:
            yield s3, running


def embed(container: Container, source: str, **fields: Any) -> dict[str, Any]:
    event = {"action": "embed_object", "source": f"s3://texts/{source}", "encoding": "base64", **fields}
    response: dict[str, Any] = container.invoke(event)
    assert response.get("done"), response
    return response


def part(s3: Any, prefix: str) -> bytes:
    (entry,) = s3.list_objects_v2(Bucket="vectors", Prefix=f"{prefix}/parts/")["Contents"]
    content: bytes = s3.get_object(Bucket="vectors", Key=entry["Key"])["Body"].read()
    return content


def test_jobs_of_json_lines_and_parquet_run_in_it(
    s3_and_container: tuple[Any, Container], tmp_path: Path
) -> None:
    s3, container = s3_and_container
    s3.put_object(Bucket="texts", Key="a.jsonl", Body="\n".join(map(json.dumps, ROWS)).encode())
    path = tmp_path / "a.parquet"
    with duckdb.connect() as database:
        database.execute("CREATE TABLE made (id VARCHAR, text VARCHAR)")
        database.executemany("INSERT INTO made VALUES (?, ?)", [[row["id"], row["text"]] for row in ROWS])
        database.execute(f"COPY made TO '{path}' (FORMAT parquet)")
    s3.put_object(Bucket="texts", Key="a.parquet", Body=path.read_bytes())
    assert embed(container, "a.jsonl", output="s3://vectors/lines")["rows"] == len(ROWS)
    lines = [json.loads(line) for line in gzip.decompress(part(s3, "lines")).splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in ROWS]
    direct = container.invoke({"action": "embed", "texts": TEXTS, "encoding": "base64"})["embeddings"]
    for number, line in enumerate(lines):
        assert float(vector(line["vector"]) @ vector(direct[number % 3])) > 0.99
    # Parquet in and out, which takes DuckDB, without a network to load anything from.
    assert embed(container, "a.parquet", output="s3://vectors/table", format="parquet")["rows"] == len(ROWS)
    path.write_bytes(part(s3, "table"))
    with duckdb.connect() as database:
        found = database.execute(f"SELECT id, vector FROM read_parquet('{path}')").fetchall()
    assert [name for name, _ in found] == [row["id"] for row in ROWS]
    for (_, values), line in zip(found, lines, strict=True):
        assert float(np.array(values, dtype=np.float32) @ vector(line["vector"])) > 0.99


@pytest.mark.parametrize(("source", "code"), [("s3://texts/a.jsonl", None), ("s3://texts", "rows_double")])
def test_a_whole_job_runs_in_it_with_its_proof(
    s3_and_container: tuple[Any, Container], source: str, code: str | None
) -> None:
    s3, container = s3_and_container
    for number in range(2):
        body = "\n".join(map(json.dumps, ROWS[:20]))
        s3.put_object(Bucket="texts", Key=f"{'ab'[number]}.jsonl", Body=body.encode())
    job = {"source": source, "output": "s3://vectors/job"}
    container.invoke({"action": "plan", "job": job})
    plan = s3.get_object(Bucket="vectors", Key="job/plan.jsonl")["Body"].read().decode()
    for line in plan.splitlines():
        event = {"action": "embed_object", "job": job, "part": json.loads(line), "continue": None}
        assert container.invoke(event).get("done")
    finished = container.invoke({"action": "finish", "job": job})
    assert "errorMessage" not in finished, finished
    assert finished.get("error", {}).get("code") == code
    assert code or finished["rows"] == {"in": 20, "out": 20, "refused": 0}


def test_other_requests_import_what_they_import_in_the_plain_image(
    docker: str, image: str, bulk_image: str
) -> None:
    imported = {}
    for name in (image, bulk_image):
        with Container(name, docker=docker) as running:
            shown = running.execute(IMPORTED).stdout
            imported[name] = set(json.loads(shown.splitlines()[-1]))
    assert "onnxruntime" in imported[image]
    assert imported[bulk_image] == imported[image]
    assert not EXTRAS & imported[bulk_image]


def test_it_is_larger_by_the_extras_alone(docker: str, image: str, bulk_image: str) -> None:
    config = json.loads(subprocess.check_output([docker, "image", "inspect", bulk_image]))[0]["Config"]
    assert config["Labels"][f"{LABEL}extras"] == "bulk"
    plain, bulk = layers(docker, image), layers(docker, bulk_image)
    print(f"plain {sum(plain.values()):,} bytes, bulk {sum(bulk.values()):,}: {plain} {bulk}")
    assert 0 < bulk["dependencies"] - plain["dependencies"] < MAX_MORE_BYTES
    assert bulk["models"] == pytest.approx(plain["models"], rel=0.001)
