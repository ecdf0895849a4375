"""What the rows of a sweep show together: the paper's tables, confirmations, and what criteria would have chosen."""
