"""Take-downs: samples that must go, wherever they are. A tool, and what stages share of it."""
