"""Client APIs over HTTP, one module for each provider."""
