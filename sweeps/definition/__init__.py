"""What a sweep is asked to do."""
