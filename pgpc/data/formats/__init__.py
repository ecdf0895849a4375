"""Formats of picture files, each looked at before a library decodes it: its size, its bands and that it is whole."""
