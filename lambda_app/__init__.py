"""Embeddings and reranking on AWS Lambda: everything that runs in the function."""
