"""The ``engram`` command, for people and pipes."""
