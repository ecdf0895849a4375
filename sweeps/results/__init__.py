"""What runs have come to, as rows."""
