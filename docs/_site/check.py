"""Looks through the site that was built: ``python docs/_site/check.py build/docs/html``.

Every link inside it leads to a page and a place that are there; one that leads outside is a well-formed address by
https, of a host that is listed here (whether it answers, ``make docs-links`` asks); no page needs anything from the
network; every public name of the package has its entry in the reference.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

import ec_jupyter
from ec_jupyter.notebook.magics import FlowMagics

HOSTS = {"pydata-sphinx-theme.readthedocs.io"}
"""Hosts that the site leads to. A new one is added here by whoever adds its link, and has looked where it leads."""

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""What a browser fetches by itself, and the attribute that says from where."""


class Page(HTMLParser):
    """Places, links and resources of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        said = dict(attrs)
        self.ids |= {said[word] or "" for word in ("id", "name") if word in said}
        if tag == "a" and said.get("href"):
            self.links.append(str(said["href"]))
        if tag in LOADS and said.get(LOADS[tag]) and said.get("rel") != "canonical":
            self.resources.append(str(said[LOADS[tag]]))


def _leads_nowhere(site: Path, path: Path, link: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file() or site not in target.parents:
        return True
    place = unquote(parts.fragment)
    return bool(place) and target in pages and place not in pages[target].ids


def _amiss(link: str) -> str:
    """What is wrong with a link that leads outside; empty for one inside, or where nothing is."""
    try:
        parts = urlsplit(link)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if not parts.scheme and not parts.netloc:
        return ""
    if parts.scheme != "https" or not host or port or parts.username or any(c.isspace() for c in link):
        return "is no plain address by https"
    return "" if host in HOSTS else f"leads to {host}, which is not among HOSTS"


def shortcomings(site: Path) -> list[str]:
    """What is wrong with the site, one line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: {link} leads nowhere" for link in page.links if _leads_nowhere(site, path, link, pages)]
        found += [f"{name}: {link} {said}" for link in page.links if (said := _amiss(link))]
        found += [f"{name}: needs {link}" for link in page.resources if urlsplit(link).netloc]
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    python = [names for kind, names in inventory.data.items() if kind.startswith("py:")]
    entries = {name.rpartition(".")[2] for names in python for name in names}
    entries |= pages[site / "reference" / "magics.html"].ids
    wanted = [*ec_jupyter.__all__, *(name.replace("_", "-") for kind in FlowMagics.magics.values() for name in kind)]
    return found + [f"reference: {name} is missing" for name in wanted if name not in entries]


if __name__ == "__main__":
    lines = shortcomings(Path(sys.argv[1]).resolve())
    print("\n".join(lines) or "site: every link leads somewhere, nothing comes from the network, every name is there")
    sys.exit(1 if lines else 0)
