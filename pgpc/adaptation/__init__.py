"""Self-training on the target: EMA teacher, pseudo-labels, ClassMix, feature distance."""
