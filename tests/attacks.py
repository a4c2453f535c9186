"""Values that would like to run something where they are shown: each sets ``hit`` of the page if it can, or fetches."""

from __future__ import annotations

AWAY = "http://127.0.0.1:9/hit"
"""An address that nothing may ask for; where a test listens, it puts its own in place."""

ATTACKS = [
    "<script>top.hit = 1</script>",
    "<img src=x onerror='top.hit = 1'>",
    f"<img src='{AWAY}'>",
    "<svg xmlns='http://www.w3.org/2000/svg' onload='top.hit = 1'><script>top.hit = 1</script></svg>",
    "<svg xmlns='http://www.w3.org/2000/svg'><foreignObject><body xmlns='http://www.w3.org/1999/xhtml'>"
    "<img src='x' onerror='top.hit = 1'/></body></foreignObject></svg>",
    f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{AWAY}'/><use href='{AWAY}#x'/></svg>",
    "<svg xmlns='http://www.w3.org/2000/svg'><animate onbegin='top.hit = 1' attributeName='x' dur='1s'/></svg>",
    "<a href='javascript:top.hit = 1' autofocus onfocus='top.hit = 1'>x</a>",
    "<iframe srcdoc='<script>top.hit = 1</script>'></iframe>",
    f"<iframe src='{AWAY}'></iframe>",
    "<object data='data:text/html,<script>top.hit = 1</script>'></object>",
    f"<meta http-equiv='refresh' content='0;url={AWAY}'>",
    f"<link rel='stylesheet' href='{AWAY}'><style>@import '{AWAY}'; * {{ background: url({AWAY}) }}</style>",
    f"<base href='{AWAY}'><form action='{AWAY}'><input autofocus onfocus='this.form.submit()'></form>",
    "</iframe><script>top.hit = 1</script>",
    '"></iframe><script>top.hit = 1</script>',
    "]]></text></svg><script>top.hit = 1</script>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=top.hit=1&gt;'>",
    "<details open ontoggle='top.hit = 1'><summary>x</summary></details>",
    "<video autoplay onloadstart='top.hit = 1'><source onerror='top.hit = 1'></video>",
]
"""As values, and as all that a value may say of itself."""


class Html:
    """A value with HTML of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text


class Svg(Html):
    """A value that draws itself."""

    _repr_html_ = None  # type: ignore[assignment]

    def _repr_svg_(self) -> str:
        return self.text


class Worded(Html):
    """A value with markdown, with a type and an error of its own words."""

    _repr_html_ = None  # type: ignore[assignment]

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text
