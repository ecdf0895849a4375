"""Which trials are run, and which are stopped early."""
