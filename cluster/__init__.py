"""The files of clusters on AWS, on machines of one's own, Slurm and Kubernetes, and what runs on their nodes.

A wheel has them beside the packages, to be read. The launcher copies the source to the nodes (`file_mounts` of the YAML
files), so ``ray up`` is run in a checkout.
"""
