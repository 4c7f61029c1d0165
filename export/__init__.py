"""From a checkpoint to a verified bundle, and what can be asked of a bundle without a server."""
