"""Frames of a page as they come, and the animation that they make."""

from __future__ import annotations

import base64
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page

POINTER = """() => {
  const dot = document.createElement('div');
  dot.style.cssText = 'position:fixed;z-index:99999;width:18px;height:18px;margin:-9px;border-radius:50%;' +
    'pointer-events:none;background:#e7540a80;border:2px solid #e7540a';
  document.body.append(dot);
  document.addEventListener('mousemove', event => {
    dot.style.left = event.clientX + 'px'; dot.style.top = event.clientY + 'px' }, true);
}"""
"""A dot where the pointer is, which a browser's pictures leave out."""


class Film:
    """What a page shows from now on.

    Parameters
    ----------
    page : Page
        The page.
    step : float
        Seconds that lie between two frames at least.
    """

    def __init__(self, page: Page, step: float = 0.1) -> None:
        self._frames: list[tuple[float, bytes]] = []
        self._step = step
        self._session = page.context.new_cdp_session(page)
        self._session.on("Page.screencastFrame", self._take)
        page.evaluate(POINTER)
        self._session.send("Page.startScreencast", {"format": "png"})

    def _take(self, event: Any) -> None:
        self._session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        at = event["metadata"]["timestamp"]
        if not self._frames or at - self._frames[-1][0] >= self._step:
            self._frames.append((at, base64.b64decode(event["data"])))

    def save(self, path: Path, box: dict[str, float], width: int) -> None:
        """End it, and write what it saw of a part of the page."""
        self._session.send("Page.stopScreencast")
        times = [at for at, _ in self._frames]
        lasts = [round(1000 * min(1.0, end - at)) for at, end in pairwise(times)] + [2000]
        frame = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        size = (width, round(width * box["height"] / box["width"]))
        images = [
            Image.open(io.BytesIO(data)).convert("RGB").crop(frame).resize(size, Image.Resampling.LANCZOS)
            for _, data in self._frames
        ]
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=lasts,
            loop=0,
            quality=80,
            method=4,
            minimize_size=True,
        )
