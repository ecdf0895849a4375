"""Layouts: where the files of data sets lie, which of them belong to a split, and what their labels mean."""
