"""S3 on this machine: moto's server, for tests and benchmarks of bundles that are fetched."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "models"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDTEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    # The machine's own settings stay out, and no instance is asked for a role.
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[str]:
    """Yields the URL of an empty S3 that listens on one of this machine's addresses."""
    # Its server would write a line for each of hundreds of ranges.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # What was stored is the process's, not the server's.
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("POST", "/moto-api/reset")
        if connection.getresponse().status != 200:
            raise RuntimeError("moto could not be reset")
        connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client(address: str, service: str = "s3", *, read_seconds: float = 20) -> Any:
    """Returns a boto3 client of a service of the server at ``address``."""
    return boto3.client(
        service,
        endpoint_url=address,
        region_name=ENVIRONMENT["AWS_REGION"],
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=Config(read_timeout=read_seconds, retries={"total_max_attempts": 2}),
    )


def upload(address: str, root: Path, prefix: str) -> None:
    """Puts every file of a directory below a prefix of :data:`BUCKET`."""
    s3 = client(address)
    s3.create_bucket(Bucket=BUCKET)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(root).as_posix()}"
            s3.put_object(Bucket=BUCKET, Key=key.lstrip("/"), Body=path.read_bytes())
    s3.close()
