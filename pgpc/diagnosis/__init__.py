"""What the contrast of a run works with: classes, pseudo-labels, anchors, the memory bank and gradients."""
