"""The doors: one module per wire family, all over the same service."""
