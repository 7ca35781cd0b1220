"""Open files: `file` is what all are, `open_files` has them by number, and the others are the kinds."""
