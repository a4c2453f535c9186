"""Did every ring of tests run, and in full: `python .ci/rings.py build/*.xml`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

EXPECTED = {"pure", "store", "shell", "kernel", "nodes", "crash", "server", "notebooks", "browser"}


def shortfalls(reports: list[Path], rings: set[str]) -> list[str]:
    """What kept one of these rings from running in full, one line each."""
    ran: Counter[str] = Counter()
    said = []
    for case in (case for report in reports for case in ET.parse(report).iter("testcase")):
        name = case.get("classname", "")
        if case.find("skipped") is not None:
            said.append(f"{name}::{case.get('name')} was skipped")
            continue
        ran[name.removeprefix("tests.").split(".")[0]] += 1
    said += [f"ring {ring!r} ran no test" for ring in sorted(rings) if not ran[ring]]
    print("tests by ring: " + ", ".join(f"{ring} {count}" for ring, count in sorted(ran.items())))
    return said


if __name__ == "__main__":
    # a ring with test files counts even before it is listed above
    every = EXPECTED | {path.parent.name for path in Path("tests").glob("*/test_*.py")}
    lines = shortfalls([Path(name) for name in sys.argv[1:]], every)
    print("\n".join(lines))
    sys.exit(1 if lines else 0)
