"""Embeddings and reranking on AWS Lambda: everything that runs in the function."""

__version__ = "0.1.0"
