"""Sphinx configuration: every page is executed at build, and any error or warning fails the build (`-W`)."""

import re

from indexprop import __version__

project = "indexprop"
author = "The indexprop authors"
copyright = "2026 The indexprop authors"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, too

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures stay short; docstrings say what arguments are

html_theme = "furo"
html_title = "indexprop"


def code_as_code(app, what, name, obj, options, lines):
    """Docstrings are plain text, with `code` and indented blocks in it; the builder wants other marks for both."""
    made, literal, example = [], False, False
    for line in lines:
        indented = line.startswith("    ")
        example = line.startswith(">>>") or (example and bool(line.strip()))
        if indented and not literal and not example:
            made += ["::", ""]
        literal = indented or (literal and not line.strip())
        if not literal and not example:
            line = re.sub(
                r"(?<!`)`([^`]+)`(?!`)(\w?)", lambda found: f"``{found[1]}``" + (found[2] and "\\ " + found[2]), line
            )
        made.append(line)
    lines[:] = made


def setup(app):
    app.connect("autodoc-process-docstring", code_as_code)
