"""The comparison of what threads do between two operators."""

from benchmarks import waiting
from lambda_app.bundle import Bundle


def test_each_way_of_waiting_is_measured(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.embedding is not None
    heading, *rows = waiting.measure(tiny_bundle.embedding, 1)
    assert [row[0] for row in rows] == list(waiting.WAYS)
    assert all(len(row) == len(heading) and float(row[1]) > 0 for row in rows)
