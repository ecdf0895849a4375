"""Criteria that say how good a network is on a target without labels, for choosing between networks.

Each is computed on images of the target's train split whose labels are never read, but for one that uses labels of the
source. Each fails somewhere, in its own way (:mod:`pgpc.evaluation.criteria.table` says where), so that several of them
belong beside one another.
"""
