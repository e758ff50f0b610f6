"""The models: sessions, tokenizers, batching."""
