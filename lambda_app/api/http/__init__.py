"""HTTP: gateway events, the FastAPI application, API keys, and error formats."""
