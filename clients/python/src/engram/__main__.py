"""``engram`` and ``python -m engram``: the command line, if its extra is installed."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        from engram.cli.app import app  # noqa: PLC0415 - typer and rich may be absent
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.stderr.write(f"engram: the command needs {error.name}: pip install 'engram-client[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # before there is anything to interrupt
        sys.exit(130)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode still gets the numbers
    app(prog_name="engram")


if __name__ == "__main__":
    main()
