"""Embedding and reranking behind every API: knows no wire format."""
