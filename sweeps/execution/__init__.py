"""How trials are run: Ray's resources, Tune, Train and what is done when something is lost."""
