"""The report of a sweep: tables, charts and pictures on one page."""

IMAGES, SECONDS = 3, 120.0
"""By default, the number of images that are segmented for a report, and the seconds that this may take."""
