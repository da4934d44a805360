"""Sphinx: the pages of this folder, and the API from the docstrings.

    sphinx-build --fail-on-warning docs out/site

Pages are Markdown that reads well on GitHub too. MathJax, which shows the
formulas, is part of the site, so that a page needs nothing from elsewhere.
"""

import importlib.util
import inspect
import re
from pathlib import Path

import keras_rmi

project = "keras_rmi"
author = "The keras_rmi authors"
version = release = keras_rmi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["figures"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# In docstrings as in Markdown: `name` is code.
default_role = "code"
autodoc_default_options = {
    "members": True,
    "imported-members": True,
    "member-order": "groupwise",
}
autodoc_inherit_docstrings = False
# The docstrings say it in words.
autodoc_typehints = "none"
maximum_signature_line_length = 70
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Input shape", "Output shape"]

html_theme = "furo"
html_title = f"keras_rmi {release}"
# One file of MathJax, which draws with lines and needs no fonts.
mathjax_path = "tex-svg.js"
_mathjax = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin)
html_static_path = [
    "_static",
    str(_mathjax.parent / "static" / "mathjax" / mathjax_path),
]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

_SECTION = re.compile(r"[A-Z][\w ]*:$")


def docstring(app, what, name, thing, options, lines):
    """Formulas are indented blocks, as in Markdown; an entry is one line."""
    result, section = [], ""
    for line in lines:
        if _SECTION.match(line):
            section = line
        if line == "Example:" or line.startswith("Differences from "):
            # Their text is not indented.
            line = f".. rubric:: {line.removesuffix(':')}"
        if _continues_names(result, section):
            result[-1] += f" {line.strip()}"
            continue
        if not section and _begins_block(result, line):
            result += ["::", ""]
        result.append(line)
    lines[:] = result


def signature(app, what, name, thing, options, arguments, returned):
    """The constructor's own: Keras hides those of layers."""
    if what != "class":
        return None
    found = inspect.signature(thing)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in found.parameters.values()
    ]
    found = found.replace(
        parameters=plain, return_annotation=inspect.Signature.empty
    )
    return str(found), returned


def _continues_names(result, section):
    """Whether the line before lists names without the colon."""
    return section == "Args:" and re.fullmatch(
        r"    [\w, ]+,", result[-1] if result else ""
    )


def _begins_block(result, line):
    if not line.startswith("    ") or not result or result[-1]:
        return False
    before = next((text for text in reversed(result) if text), "")
    return not before.startswith(" ")


def setup(app):
    # Before napoleon, which has the default priority.
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
