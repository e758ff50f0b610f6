"""Objects in S3: listed, read in ranges, written with a checksum."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lambda_app.bulk.aws import Location, client, translated
from lambda_app.errors import StorageRefusedError

# Bytes of one request. A connection that stays open while texts are embedded would be closed by S3.
BLOCK_BYTES = 4 * 1024 * 1024
# Of the first request behind the end of a range, where the rest of its last line is; later ones have more.
TAIL_BYTES = 64 * 1024
DELETED_AT_ONCE = 1_000


class StoredObject(NamedTuple):
    """An object as S3 lists it."""

    place: Location
    size: int
    etag: str


def list_objects(prefix: Location) -> Iterator[StoredObject]:
    """Yields the objects below a prefix, in the order of their keys.

    Raises:
        StorageRefusedError: there is no such bucket, or it may not be listed.
    """
    with translated(prefix):
        pages = (
            client("s3").get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                yield StoredObject(prefix._replace(key=entry["Key"]), entry["Size"], entry["ETag"])


def head(place: Location) -> StoredObject:
    """Returns one object's size and entity tag.

    Raises:
        StorageRefusedError: it is not there, or may not be read.
    """
    with translated(place):
        found = client("s3").head_object(Bucket=place.bucket, Key=place.key)
    return StoredObject(place, found["ContentLength"], found["ETag"])


def read(place: Location) -> bytes:
    """Returns the content of a small object.

    Raises:
        StorageRefusedError: it is not there, or may not be read.
    """
    with translated(place):
        content: bytes = client("s3").get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
    return content


def blocks(stored: StoredObject, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yields the bytes of an object from ``start`` on, up to ``end`` in large blocks, then in small ones.

    Raises:
        StorageRefusedError: the object is not there, or is not the one that was listed.
    """
    end = stored.size if end is None else end
    tail = TAIL_BYTES
    while start < stored.size:
        if start < end:
            stop = min(stored.size, start + BLOCK_BYTES, end)
        else:
            stop, tail = start + tail, min(2 * tail, BLOCK_BYTES)
        content = read_range(stored, start, stop)
        if not content:
            return
        yield content
        start += len(content)


def read_range(stored: StoredObject, start: int, stop: int) -> bytes:
    """Returns bytes ``start`` up to ``stop`` of an object, fewer at its end.

    Raises:
        StorageRefusedError: the object is not there, or is not the one that was listed.
    """
    with translated(stored.place):
        answer = client("s3").get_object(
            Bucket=stored.place.bucket,
            Key=stored.place.key,
            Range=f"bytes={start}-{stop - 1}",
            IfMatch=stored.etag,
        )
        content: bytes = answer["Body"].read()
    return content


def unpacked(compressed: Iterable[bytes], place: Location) -> Iterator[bytes]:
    """Yields what gzip packed, of one member or of several.

    Raises:
        StorageRefusedError: it is not gzip, or ends early.
    """
    member = zlib.decompressobj(wbits=31)
    begun = False
    try:
        for block in compressed:
            rest = block
            while rest:
                if member.eof:
                    # Zeros may follow a member, as tape drives wrote them.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = zlib.decompressobj(wbits=31)
                begun = True
                while content := member.decompress(rest, BLOCK_BYTES):
                    yield content
                    rest = member.unconsumed_tail
                    if member.eof:
                        break
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise _not_gzip(place) from error
    if begun and not member.eof:
        raise _not_gzip(place)


def _not_gzip(place: Location) -> StorageRefusedError:
    return StorageRefusedError(
        f"{place} is not gzip, or ends early: upload it again", code="object_unreadable"
    )


class BlockStream(io.RawIOBase):
    """A stream over blocks, for what reads streams."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._blocks = content
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills as much of a buffer as there is of a block."""
        while not self._rest:
            try:
                self._rest = next(self._blocks)
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def write(place: Location, content: bytes, content_type: str = "application/json") -> str:
    """Writes an object, and returns the SHA-256 of its content in hexadecimal, which S3 has checked.

    Raises:
        StorageRefusedError: it may not be written, or there is no such bucket.
    """
    digest = hashlib.sha256(content)
    with translated(place):
        client("s3").put_object(
            Bucket=place.bucket,
            Key=place.key,
            Body=content,
            ContentType=content_type,
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
        )
    return digest.hexdigest()


def has_content(place: Location, sha256: str) -> bool:
    """Whether an object is there with this content: S3 knows its SHA-256 since it was written."""
    try:
        with translated(place):
            found = client("s3").head_object(Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED")
        checksum = found.get("ChecksumSHA256")
        if checksum is None:
            return hashlib.sha256(read(place)).hexdigest() == sha256
    except StorageRefusedError as error:
        if error.code == "object_not_found":
            return False
        raise
    return bool(base64.b64decode(checksum).hex() == sha256)


def delete(places: Iterable[Location]) -> None:
    """Deletes objects, also where there are none.

    Raises:
        StorageRefusedError: they may not be deleted.
    """
    found = list(places)
    for start in range(0, len(found), DELETED_AT_ONCE):
        some = found[start : start + DELETED_AT_ONCE]
        with translated(some[0]):
            answer = client("s3").delete_objects(
                Bucket=some[0].bucket,
                Delete={"Objects": [{"Key": place.key} for place in some], "Quiet": True},
            )
        if answer.get("Errors"):
            raise StorageRefusedError(
                f"{some[0]} may not be deleted: give the function's role s3:DeleteObject on the output",
                code="storage_access_denied",
            )
