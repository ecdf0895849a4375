"""What several trials or several seeds show: spread, differences, intervals, correlations of ranks."""
