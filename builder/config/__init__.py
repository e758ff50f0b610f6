"""What is to be built: the config file, the environment and the flags."""
