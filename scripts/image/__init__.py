"""Tools that build, slim and describe the image."""
