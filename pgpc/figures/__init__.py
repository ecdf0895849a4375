"""Drawings for papers."""
