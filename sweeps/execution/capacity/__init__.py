"""What there is room for: workers, memory of the head, and checkpoints on the disk."""
