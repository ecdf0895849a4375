"""What is made sure of when a Ray cluster is joined: that it is one, that it is ours alone, and what its nodes see."""
