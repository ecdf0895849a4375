"""Vision transformers whose blocks all have one stride, and what makes them encoders like the others."""
