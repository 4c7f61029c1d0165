"""What the garbage collector looks at: not what was loaded at the start and stays.

A full collection goes over every object, 30 ms of a loaded server, and nothing is answered meanwhile.
"""

from __future__ import annotations

import gc


def set_aside() -> None:
    """Let the collector forget what lives now, once the server is ready."""
    gc.collect()
    gc.freeze()


def look_again() -> None:
    """Collect also what was set aside: something of it has become garbage, such as a model that left."""
    if gc.get_freeze_count():
        gc.unfreeze()
        set_aside()
