"""What trials score against each other, who is stopped for it, and when the sweep itself gives up."""
