"""Open files: `file` has their base class, `open_files` the table by number, the others are the kinds."""
