"""The embedded pair of domains, a seeded generator of street scenes."""
