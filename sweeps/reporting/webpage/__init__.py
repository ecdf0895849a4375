"""The report as one page that opens without network or script."""
