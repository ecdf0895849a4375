"""Packed data sets: Arrow files with a manifest, written by ``pgpc pack`` and read by training."""
