"""Stage `search`: an index behind an HTTP API and a page."""
