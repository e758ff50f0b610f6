"""Request bodies to typed values, and vectors to JSON."""
