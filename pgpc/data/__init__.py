"""Everything between folders of images and batches: layouts, shards, the embedded pair, sampling, loading."""
