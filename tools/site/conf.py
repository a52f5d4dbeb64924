"""How Sphinx builds the site; `build.py` puts the pages together before it runs."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "src")]

import docstrings  # noqa: E402
import pictures  # noqa: E402

import birthmark  # noqa: E402

project = "birthmark"
author = "the authors of birthmark"
version = release = birthmark.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
default_role = "literal"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent.parent / "build" / "site" / "examples")],
    "gallery_dirs": ["tutorials"],
    # what needs a framework of its own is shown, and run by `make test-frameworks`
    "filename_pattern": r"examples/[a-z_]+\.py$",
    "within_subsection_order": pictures.ByUse,
    "image_scrapers": (pictures.gather,),
    "capture_repr": ("_repr_html_", "__repr__"),
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "write_computation_times": False,
    "download_all_examples": False,
}
suppress_warnings = ["config.cache"]  # the scraper is a function

html_theme = "pydata_sphinx_theme"
html_title = f"birthmark {release}"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "navigation_depth": 2,
    "show_prev_next": False,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": []}
copyright = "Apache-2.0"  # noqa: A001 - Sphinx names it so


def setup(app):
    """Read docstrings as they are written here."""
    app.connect("autodoc-process-docstring", docstrings.mark_code, priority=100)
