"""What a bundle on disk is, and what leaves the server: plain values, no requests, no threads."""
