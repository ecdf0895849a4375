"""From what a user gives to a config: a preset or a file, settings, one's own data, and a length of training."""
