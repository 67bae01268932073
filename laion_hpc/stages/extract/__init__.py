"""Stage `extract`: WAT files to candidate image links."""
