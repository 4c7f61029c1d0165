"""``/v1/batches``: batches that outlive their connection, over HTTP."""
