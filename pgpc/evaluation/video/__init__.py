"""Videos and webcams: read frame by frame, segmented in order, and written as a video or as pictures."""
