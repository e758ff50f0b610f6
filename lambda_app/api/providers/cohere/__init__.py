"""Cohere's API: reranking and embeddings, versions 1 and 2."""
