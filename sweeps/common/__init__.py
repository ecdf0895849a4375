"""Names, words and numbers that every room of the sweep uses."""
