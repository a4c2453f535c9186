"""How Sphinx makes the site of these pages: ``make docs``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
# the directive of the magics lies beside this file
sys.path.insert(0, str(HERE / "_site"))

from ec_jupyter.version import VERSION  # noqa: E402

project = "ec_jupyter"
author = copyright = "the ec_jupyter developers"
version = release = VERSION

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "magics",
]
exclude_patterns = ["_site", "pictures/*.py"]
# what a notebook keeps for JupyterLab alone
suppress_warnings = ["mystnb.unknown_mime_type"]

# pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests execute notebooks, and the shipped ones have their outputs
nb_ipywidgets_js: dict[str, str] = {}  # a still picture is in each; what runs widgets would come from a CDN
nb_mime_priority_overrides = [("html", "image/svg+xml", 1), ("html", "application/vnd.jupyter.widget-view+json", None)]
copybutton_exclude = ".linenos, .gp, .go"

# reference
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
default_role = "code"  # a name in a docstring's single backticks

# looks
html_theme = "pydata_sphinx_theme"
html_title = "ec_jupyter"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "ec_jupyter"},
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 8,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "card": [], "index": []},
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
# pages of no section have no list of one
html_sidebars = {page: [] for page in ("index", "ten-minutes", "picture", "card", "concepts")}


AROUND = {
    "../CHANGELOG.md": "/developers/changelog.md",
    "../CONTRIBUTING.md": "/developers/contributing.md",
    "../SECURITY.md": "/developers/reporting.md",
    "../benchmarks/README.md": "/developers/benchmarks.md",
}
"""Documents that lie around this folder, and their pages."""


def _link_around(app: object, page: str, source: list[str]) -> None:
    """Let links to documents outside of this folder lead to their pages."""
    for document, own in AROUND.items():
        source[0] = source[0].replace(f"]({document})", f"]({own})")


def _picture(notebook: Path) -> str:
    """The still picture of the flow that a notebook has."""
    outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", ())]
    return next("".join(one["data"]["image/svg+xml"]) for one in outputs if "image/svg+xml" in one.get("data", ()))


def _take_notebooks(app: object) -> None:
    """Lay the shipped notebooks where Sphinx finds them, and their pictures; they are pages of the gallery."""
    folder = HERE / "gallery" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        if not (folder / notebook.name).exists() or notebook.read_bytes() != (folder / notebook.name).read_bytes():
            shutil.copyfile(notebook, folder / notebook.name)
            (folder / notebook.name).with_suffix(".svg").write_text(_picture(notebook))


def setup(app: object) -> None:
    """What Sphinx calls once."""
    app.connect("builder-inited", _take_notebooks)  # type: ignore[attr-defined]
    app.connect("source-read", _link_around)  # type: ignore[attr-defined]
