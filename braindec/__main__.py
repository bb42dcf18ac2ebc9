"""`python -m braindec`, and the command `braindec`."""

from __future__ import annotations

import sys

from braindec.cli import main

if __name__ == "__main__":
    sys.exit(main())
