"""The optimizer's parameter groups and the learning rate."""
