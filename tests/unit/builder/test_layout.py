"""Where weights lie in model.bin, and with how many bits."""

import numpy as np

from lambda_app.bundle import Bundle
from tests.support.tiny_sources import TinySources


def test_weights_lie_where_the_manifest_says(tiny_bundle: Bundle) -> None:
    for model in tiny_bundle.models():
        end = 0
        for tensor in model.tensors:
            assert tensor.offset % 64 == 0
            assert end <= tensor.offset < end + 4096
            assert tensor.bytes == np.dtype(tensor.dtype).itemsize * np.prod(tensor.shape)
            end = tensor.offset + tensor.bytes
        assert model.weights_path.stat().st_size == end
        sparse = [tensor.sparse for tensor in model.tensors]
        assert sparse == sorted(sparse, reverse=True)


def test_embedding_rows_have_a_scale_each(tiny_bundle: Bundle, tiny_sources: TinySources) -> None:
    from safetensors.numpy import load_file

    model = tiny_bundle.embedding
    assert model is not None
    data = model.weights_path.read_bytes()
    arrays = {
        tensor.name: np.frombuffer(data, tensor.dtype, int(np.prod(tensor.shape)), tensor.offset).reshape(
            tensor.shape
        )
        for tensor in model.tensors
    }
    (rows,) = (array for name, array in arrays.items() if name.endswith("word_embeddings.weight_int8"))
    (scales,) = (array for name, array in arrays.items() if name.endswith("word_embeddings.weight_scale"))
    expected = load_file(tiny_sources.embedder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert scales.shape == (len(expected), 1)
    assert np.abs(rows * scales - expected).max() <= scales.max() / 2 + 1e-7
    # Everywhere else two neighbours of one sign are at most 128 together: no sum overflows AVX2's 16 bits.
    for name, array in arrays.items():
        if array.dtype == np.int8 and "word_embeddings" not in name:
            pairs = np.pad(array.astype(int), ((0, len(array) % 2), (0, 0))).reshape(-1, 2, array.shape[1])
            assert np.maximum(pairs, 0).sum(axis=1).max() <= 128
            assert np.maximum(-pairs, 0).sum(axis=1).max() <= 128
