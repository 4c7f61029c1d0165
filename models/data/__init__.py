"""Training data: where it comes from, how it is read, and how it becomes padded batches."""
