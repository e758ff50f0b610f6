"""Event sources that are not HTTP, one module for each."""
