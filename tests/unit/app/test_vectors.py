"""Vectors in a response: quantized numbers and packed bits."""

from __future__ import annotations

import numpy as np

from lambda_app.api.parsing.vectors import encode_vectors


def test_int8_keeps_the_order_of_neighbours() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((200, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    quantized = np.array(encode_vectors(vectors, "int8"), dtype=np.float64)
    assert np.abs(quantized).max() <= 127
    assert np.corrcoef((vectors @ vectors.T).ravel(), (quantized @ quantized.T).ravel())[0, 1] > 0.9999
    lengths = np.linalg.norm(quantized, axis=1)
    assert ((quantized / lengths[:, None]) * vectors).sum(axis=1).min() > 0.999


def test_bits_are_packed_with_the_first_number_highest() -> None:
    vectors = np.array([[1, -1, -1, -1, -1, -1, -1, 1, 1, -1, -1, -1, -1, -1, -1, -1]], dtype=np.float32)
    assert encode_vectors(vectors, "ubinary") == [[129, 128]]
    assert encode_vectors(vectors, "binary") == [[1, 0]]
