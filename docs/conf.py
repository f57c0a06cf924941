"""Sphinx configuration: every page is executed at build, and any error or warning fails the build (`-W`)."""

from importlib.metadata import version as installed_version

project = "indexprop"
author = "The indexprop authors"
copyright = "2026 The indexprop authors"
release = version = installed_version("indexprop")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = "indexprop"
