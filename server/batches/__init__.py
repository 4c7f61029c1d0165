"""Batches that outlive their connection: kept in a database, worked on at low priority, by any process.

``Receiving``, ``Working`` and ``Keeping`` are the three sides of the database, ``Runner`` does the work, and
``Batches`` is what the API sees. Nothing here knows HTTP, tasks or models: lines are bytes, and what reads
and answers them is handed in.
"""
