"""Everything that events and HTTP requests ask for, over the same service."""
