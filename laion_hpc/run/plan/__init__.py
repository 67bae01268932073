"""What a dataset will cost, before it is made: jobs, hours, bytes; and how a run would go."""
