"""S3 and S3 Vectors of this machine for jobs of bulk: what a test puts there, and what it reads back."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lambda_app.bulk import aws
from scripts.dev.local_s3 import ENVIRONMENT, client

IN, OUT = "texts", "vectors"


class Storage:
    """One S3 with a bucket for texts and one for vectors, and one index of S3 Vectors."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.s3 = client(address)
        self.vectors = client(address, "s3vectors")
        for bucket in (IN, OUT):
            self.s3.create_bucket(Bucket=bucket)

    def put(self, key: str, body: bytes | str, bucket: str = IN) -> str:
        """Writes an object; returns its URL."""
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    def keys(self, prefix: str = "", bucket: str = OUT) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def __contains__(self, key: str) -> bool:
        return key in self.keys(key)

    def lines_at(self, place: dict[str, str]) -> list[Any]:
        """The JSON lines of an object that a response names."""
        return [
            json.loads(line) for line in self.get(place["key"], place["bucket"]).decode().split("\n") if line
        ]

    def get(self, key: str, bucket: str = OUT) -> bytes:
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def delete(self, key: str, bucket: str = OUT) -> None:
        self.s3.delete_object(Bucket=bucket, Key=key)

    def json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def lines(self, key: str) -> list[Any]:
        """The JSON lines of an object, compressed or not."""
        content = self.get(key)
        if key.endswith(".gz"):
            content = gzip.decompress(content)
        return [json.loads(line) for line in content.decode().split("\n") if line]

    def all_lines(self, prefix: str) -> list[Any]:
        """The JSON lines of all objects below a prefix, in the order of their keys."""
        return [line for key in sorted(self.keys(prefix)) for line in self.lines(key)]

    def index(self, name: str, dimensions: int, bucket: str = "index-bucket") -> str:
        """Makes an index of S3 Vectors; returns its URL."""
        self.vectors.create_vector_bucket(vectorBucketName=bucket)
        self.vectors.create_index(
            vectorBucketName=bucket,
            indexName=name,
            dataType="float32",
            dimension=dimensions,
            distanceMetric="cosine",
        )
        return f"s3vectors://{bucket}/{name}"

    def indexed(self, name: str, bucket: str = "index-bucket") -> dict[str, dict[str, Any]]:
        """The vectors of an index by key."""
        found = self.vectors.list_vectors(
            vectorBucketName=bucket, indexName=name, returnData=True, returnMetadata=True
        )
        return {vector["key"]: vector for vector in found["vectors"]}


@contextmanager
def storage(address: str) -> Iterator[Storage]:
    """The S3 at an address, emptied; bulk's own clients reach it as they reach AWS."""
    request = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": address}).items():
            patch.setenv(name, value)
        aws.forget_clients()
        yield Storage(address)
        aws.forget_clients()
