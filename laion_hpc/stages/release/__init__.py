"""Stage `release`: the dataset that people download."""
