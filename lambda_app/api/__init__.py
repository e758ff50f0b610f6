"""The doors: one module per wire format, all over the same service."""
