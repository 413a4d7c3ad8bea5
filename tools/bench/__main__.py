"""python tools/bench: puts the package and pystack on the path, whatever directory this runs in."""

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(TOOLS), str(TOOLS.parent)]

from bench.command import main  # noqa: E402

sys.exit(main())
