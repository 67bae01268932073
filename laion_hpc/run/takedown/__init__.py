"""Take-downs: find samples that must be removed, remove them, and prove that they are gone."""
