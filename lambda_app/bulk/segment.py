"""One file of a part: rows are embedded in groups until the file is full, the rows end, or time is short."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lambda_app.bulk import s3
from lambda_app.bulk.chunks import Item, items_of
from lambda_app.bulk.doubles import digest, packed
from lambda_app.bulk.job import Job
from lambda_app.bulk.layout import ERRORS, PARTS, RECEIPTS, Part, Place, Receipt, jsonl, name
from lambda_app.bulk.rows import Row, Skip, is_divisible
from lambda_app.bulk.write import writer
from lambda_app.errors import DeadlineError, FieldError, RequestError
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest

if TYPE_CHECKING:
    from lambda_app.service.types import EmbedResult

# Of one call. Texts of similar length share a batch, which more of them make easier.
GROUP_ITEMS = 256
GROUP_CHARACTERS = 131_072
# The first group, whose time says how long the others take.
FIRST_ITEMS = 16
# If fewer fit the time that is left, they are left to the next invocation.
MIN_ITEMS = 8
# No response holds the vectors.
UNLIMITED = 1 << 62
# Some groups take longer than the one before.
SAFETY = 1.5


class Segment:
    """The vectors and errors of one file, and what they were made of."""

    def __init__(
        self,
        service: Service,
        job: Job,
        part: Part,
        place: Place,
        origin: int,
        dimensions: int,
        invocation: Invocation,
    ) -> None:
        """Begins at a place; reading began behind ``origin`` lines of the part."""
        self._service = service
        self._job = job
        self._part = part
        self._number = place.segment
        self._dimensions = dimensions
        self._invocation = invocation._replace(response_bytes=UNLIMITED)
        self._writer = writer(job)
        self._began = time.monotonic()
        self._origin = origin
        self._begin = self._stop = place.position
        self._first_line = self._line = place.line
        # How far rows were read, also those that are still to be embedded.
        self._read = place.position, place.line
        self._rows = self._served = self._vectors = self._tokens = self._truncated = 0
        self._errors: list[dict[str, Any]] = []
        self._ids: list[bytes] = []
        self.late = False

    @property
    def progressed(self) -> bool:
        """Whether anything of the object was dealt with."""
        return self._stop > self._begin

    @property
    def following(self) -> Place:
        """Where the next file begins."""
        return Place(self._number + 1, self._stop, self._line)

    def fill(self, rows: Iterator[Row | Skip]) -> bool:
        """Embeds rows; returns whether there are no more.

        Raises:
            DeadlineError: time ran out within a group, which then counts as not begun.
        """
        count = self._service.registry.embedder.count_tokens
        group: list[Row] = []
        items: list[Item] = []
        wanted, characters = FIRST_ITEMS, 0
        for row in rows:
            self._read = row.next, self._line if row.line is None else self._origin + row.line
            if isinstance(row, Skip):
                if not group:
                    self._stop, self._line = self._read
                continue
            if row.error is None:
                items += items_of(row, len(group), self._job.chunk, count)
                characters += len(row.text)
            group.append(row)
            if len(items) < wanted and characters < GROUP_CHARACTERS and len(group) < GROUP_ITEMS:
                continue
            seconds = self._embed(group, items)
            group, items, characters = [], [], 0
            wanted = min(GROUP_ITEMS, wanted * 2, self._fitting(seconds))
            if self.late or self._writer.is_full:
                return False
        if group:
            self._embed(group, items)
        return True

    def write(self, *, done: bool) -> Receipt:
        """Writes the file, its errors and, when these are there, its receipt, which it returns."""
        job, part = self._job, self._part
        file = errors = sha256 = None
        content = self._writer.content() if self._vectors else None
        if content is not None:
            file = name(PARTS, part.part, self._number, self._writer.suffix)
            sha256 = s3.write(job.work.below(file), content, "application/octet-stream")
        if self._errors:
            errors = name(ERRORS, part.part, self._number, "jsonl")
            s3.write(job.work.below(errors), jsonl(self._errors), "application/x-ndjson")
        divisible = is_divisible(part.kind, packed=part.packed)
        model = self._service.registry.embedder.model
        receipt = Receipt(
            part=part.part,
            segment=self._number,
            object=part.object,
            etag=part.etag,
            job=job.digest,
            fingerprint=model.fingerprint,
            model=model.id,
            dimensions=self._dimensions,
            start=part.start,
            end=part.end,
            begin=self._begin,
            stop=part.end if done and divisible else self._stop,
            done=done,
            lines=self._line - self._first_line,
            rows=self._rows,
            served=self._served,
            refused=len(self._errors),
            vectors=self._vectors,
            tokens=self._tokens,
            truncated=self._truncated,
            seconds=round(time.monotonic() - self._began, 3),
            file=file,
            size=len(content or b""),
            sha256=sha256,
            errors=errors,
            ids=packed(self._ids),
        )
        s3.write(job.work.below(name(RECEIPTS, part.part, self._number, "json")), receipt.to_json())
        return receipt

    def _embed(self, group: Sequence[Row], items: Sequence[Item]) -> float:
        """Embeds and writes a group of rows, all or none; returns the seconds of each item."""
        started = time.monotonic()
        refused: dict[int, RequestError] = {}
        done: list[tuple[Sequence[Item], EmbedResult]] = []
        try:
            for start in range(0, len(items), GROUP_ITEMS):
                done += self._results(items[start : start + GROUP_ITEMS], refused)
        except DeadlineError:
            self.late = True
            raise
        self._take(done, refused)
        for place, row in enumerate(group):
            error = row.error or refused.get(place)
            self._rows += 1
            if error is not None:
                self._refuse(row, error)
                continue
            self._served += 1
            self._ids.append(digest(row.id))
        self._stop, self._line = self._read
        return (time.monotonic() - started) / max(1, len(items))

    def _results(
        self, items: Sequence[Item], refused: dict[int, RequestError]
    ) -> list[tuple[Sequence[Item], EmbedResult]]:
        """Embeds items; those that cannot be are put into ``refused``, by their row."""
        if not items:
            return []
        request = EmbedRequest(
            texts=[item.text for item in items],
            input_type=self._job.input_type,
            encodings=("base64",),
            dimensions=self._job.dimensions,
        )
        try:
            return [(items, self._service.embed(request, self._invocation))]
        except RequestError as error:
            if len(items) == 1:
                refused[items[0].row] = error
                return []
            middle = len(items) // 2
            return self._results(items[:middle], refused) + self._results(items[middle:], refused)

    def _take(
        self, done: Sequence[tuple[Sequence[Item], EmbedResult]], refused: dict[int, RequestError]
    ) -> None:
        """Writes the results of a group, but for pieces of a document of which a piece is refused."""
        items: list[Item] = []
        vectors: list[np.ndarray] = []
        truncated: list[bool] = []
        for some, result in done:
            kept = [place for place, item in enumerate(some) if item.row not in refused]
            items += [some[place] for place in kept]
            vectors.append(result.vectors[kept])
            truncated += [place in result.truncated for place in kept]
            self._tokens += result.tokens
        if not items:
            return
        places = frozenset(place for place, is_truncated in enumerate(truncated) if is_truncated)
        not_taken = self._writer.add(items, np.concatenate(vectors), places)
        for each in not_taken:
            refused.setdefault(items[each.place].row, FieldError(each.message, code=each.code))
        left_out = {each.place for each in not_taken}
        self._vectors += len(items) - len(left_out)
        self._truncated += len(places - left_out)

    def _refuse(self, row: Row, error: RequestError) -> None:
        divisible = is_divisible(self._part.kind, packed=self._part.packed)
        entry: dict[str, Any] = {
            "object": self._part.object,
            "line": None if row.line is None else self._origin + row.line,
            "offset" if divisible else "row": row.position,
            "code": error.code,
            "message": error.message,
        }
        if row.id:
            entry["id"] = row.id
        self._errors.append(entry)

    def _fitting(self, seconds: float) -> int:
        """Returns how many items fit the time that is left, at so many seconds each."""
        deadline = self._invocation.deadline
        if deadline is None or not seconds:
            return GROUP_ITEMS
        fitting = int((deadline - time.monotonic()) / (seconds * SAFETY))
        self.late = fitting < MIN_ITEMS
        return max(1, fitting)
