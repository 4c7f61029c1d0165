"""Driving models step by step: many searches share each run of a graph, and join and leave between runs."""
