"""Pictures for papers: predictions side by side, feature spaces, selected pixels.

``networks`` runs checkpoints; all else are functions from arrays to figures, which do not import pgpc.training, since
what a training shows in TensorBoard is computed here too.
"""
