"""Which device does the work, whether it may be trusted, and what happens if it fails."""
