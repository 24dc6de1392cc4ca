"""Sphinx: pages in Markdown, built offline."""

project = "diffgames"
author = "the diffgames authors"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "diffgames"
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# Formulas are shown by MathJax, which a page loads from the network; nothing else is.
