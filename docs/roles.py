"""Hook of mkdocs: cross-references in docstrings are written for Sphinx, and are shown as code here."""

import re

_ROLE = re.compile(r":(?:func|class|mod|meth|attr|data):<code>~?([^<]*)</code>")


def on_page_content(html: str, **_: object) -> str:
    """Return the page with ``:func:`name``` as code alone."""
    return _ROLE.sub(r"<code>\1</code>", html)
