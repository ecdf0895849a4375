"""ProCA: a base with stages of its own."""
