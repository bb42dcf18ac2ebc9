"""What `explore` does: a run's explorer, served to this machine alone or written as a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def add_options(parser: Any) -> None:
    """Options of the verb."""
    parser.add_argument("dir", type=Path, help="folder of a run: report.json and what lies beside it")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="write the explorer as a folder that opens from disk, and serve nothing",
    )
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")


def run(options: Any) -> None:
    """Makes the explorer, and serves it until Ctrl-C where no folder is named."""
    from braindec import explore, serving

    if options.out is not None:
        print(explore.write(options.dir, options.out))
        return
    with TemporaryDirectory(prefix="braindec-explorer-") as temporary:
        folder = explore.write(options.dir, Path(temporary) / "explorer").parent
        with serving.serve(folder, port=options.port) as server:
            print(server.url, flush=True)
            print("Only this machine can open it, with this address. Ctrl-C ends it.", file=sys.stderr)
            if options.no_browser:
                server.wait()
                return
            with server.browser() as found:
                if not found:
                    print("No browser was found; open the address in one.", file=sys.stderr)
                server.wait()
