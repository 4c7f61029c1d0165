"""Processes on one set of ports: a supervisor, which serves nothing, and workers that each serve all."""
