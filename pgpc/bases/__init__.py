"""What is learned beside the contrast, and how a step of it goes."""
