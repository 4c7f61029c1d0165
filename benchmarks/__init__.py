"""What is measured about Engram, and how: a command for each question, ``python -m benchmarks.NAME --help``.

A server runs on one core and its load on another. Results go to ``benchmarks/results``.
"""
