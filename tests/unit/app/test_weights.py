"""Weights asked for before they are needed: all of one model, nothing of another, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lambda_app.bundle import Bundle, ModelInfo, Tensor
from lambda_app.coldstart import read_ahead
from lambda_app.coldstart.read_ahead import PAGE_BYTES, SLICE_BYTES, ReadAhead
from lambda_app.models.embedder import Embedder
from lambda_app.models.weights import WeightsReader


class Asked:
    """What is asked for of files, by path of the descriptor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[tuple[str, int, int]] = []
        monkeypatch.setattr(read_ahead, "_will_need", self._note)

    def _note(self, descriptor: int, offset: int, count: int) -> None:
        self.parts.append((str(Path(f"/proc/self/fd/{descriptor}").resolve()), offset, count))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


@pytest.fixture
def model(tiny_bundle: Bundle) -> ModelInfo:
    assert tiny_bundle.embedding is not None
    return tiny_bundle.embedding


def test_a_range_is_asked_for_in_slices_without_gaps(asked: Asked, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    ReadAhead(path).range(100, 100 + 2 * SLICE_BYTES + 5)
    assert [(offset, count) for _, offset, count in asked.parts] == [
        (100, SLICE_BYTES),
        (100 + SLICE_BYTES, SLICE_BYTES),
        (100 + 2 * SLICE_BYTES, 5),
    ]


def test_what_is_in_memory_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * PAGE_BYTES))
    file = ReadAhead(path)
    assert file.is_resident(0, 64 * PAGE_BYTES)
    # Past the end there is nothing to read.
    assert not file.is_resident(0, 128 * PAGE_BYTES)


def test_a_file_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ReadAhead(tmp_path / "none")


class Direct:
    """Runs a thread's work at once."""

    def __init__(self, target: Callable[[], None], daemon: bool) -> None:
        assert daemon
        self.start = target


def test_the_vocabulary_and_dense_weights_are_asked_for_once_in_the_order_of_use(
    asked: Asked, model: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadAhead, "is_resident", lambda self, start, end: False)
    monkeypatch.setattr("lambda_app.models.weights.threading.Thread", Direct)
    reader = WeightsReader(model)
    reader.ask_for_weights()
    reader.ask_for_weights()
    dense = [tensor for tensor in model.tensors if not tensor.sparse]
    start = min(tensor.offset for tensor in dense)
    end = max(tensor.offset + tensor.bytes for tensor in dense)
    names = [Path(path).name for path, _, _ in asked.parts]
    assert list(dict.fromkeys(names)) == ["pieces.marisa", "pieces.npy", "model.bin"]
    sizes = [file.bytes for file in model.files if Path(file.path).name in names]
    assert [count for _, _, count in asked.parts[:2]] == sizes[1:]
    assert sum(count for _, _, count in asked.parts[2:]) == end - start


def table(name: str, rows: int, row_bytes: int, offset: int) -> Tensor:
    return Tensor(name, "int8", (rows, row_bytes), offset, rows * row_bytes, True)


def test_rows_of_tokens_are_asked_for_where_they_lie(asked: Asked, model: ModelInfo) -> None:
    words, scales, positions = (
        table("words", 1000, 3000, 8192),
        table("scales", 1000, 4, 4_000_000),
        table("positions", 512, 3000, 5_000_000),
    )
    reader = WeightsReader(model._replace(tensors=(words, scales, positions)))
    reader.ask_for_rows(np.array([[5, 7, 5]]))
    # Row 5 lies in one page, row 7 across two; their scales in one. Positions are no tokens' rows.
    pages = [(8192 + 15_000) // PAGE_BYTES, (8192 + 17_999) // PAGE_BYTES]
    pages += [(8192 + 21_000) // PAGE_BYTES, (8192 + 23_999) // PAGE_BYTES, 4_000_020 // PAGE_BYTES]
    assert {offset for _, offset, _ in asked.parts} == {page * PAGE_BYTES for page in pages}
    assert {count for _, _, count in asked.parts} == {PAGE_BYTES}


def test_rows_are_not_asked_for_when_the_language_is_known(asked: Asked, model: ModelInfo) -> None:
    reader = WeightsReader(model)
    reader.ask_for_rows(np.full((8, 512), 5))
    asked.parts.clear()
    reader.ask_for_rows(np.array([[6]]))
    assert asked.parts == []


def test_a_request_asks_for_nothing_of_the_other_model(
    asked: Asked, tiny_bundle: Bundle, model: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadAhead, "is_resident", lambda self, start, end: False)
    monkeypatch.setattr("lambda_app.models.weights.threading.Thread", Direct)
    Embedder.open(model, threads=1).embed(["text"], "query")
    assert tiny_bundle.reranker is not None
    assert {Path(path).parent for path, _, _ in asked.parts} == {model.directory.resolve()}
