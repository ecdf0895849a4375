"""What is tried next: points that are known, and what a sampler is told."""
