"""HTTP: gateway events, the FastAPI application, keys, and the form of errors."""
