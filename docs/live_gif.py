"""Record ``live.gif`` and ``preview.png`` from ``index.html`` beside this file, with Chromium.

    python docs/live_gif.py

The network learns; then a 3 is drawn, which one student reads and the other does not. Needs the
extra "test" and Chromium.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
SEED = 1
VIEW = {"width": 1160, "height": 636}
WIDTH, COLOURS, FRAME_MS = 720, 48, 100
THREE = [(0.28, 0.2), (0.45, 0.12), (0.66, 0.16), (0.72, 0.28), (0.62, 0.41), (0.45, 0.47),
         (0.63, 0.52), (0.74, 0.65), (0.69, 0.81), (0.5, 0.89), (0.28, 0.82)]  # fmt: skip


def shot(page: Page) -> Image.Image:
    """Return what is seen now."""
    return Image.open(io.BytesIO(page.screenshot(animations="allow"))).convert("RGB")


def recorded(page: Page, until: str) -> list[Image.Image]:
    """Return pictures of the run until its status says something."""
    frames, status = [], page.locator("#live-status")
    while until not in status.inner_text():
        frames.append(shot(page))
    return frames


def drawn(page: Page) -> list[Image.Image]:
    """Draw a three and return a picture after each part of its stroke."""
    box = page.locator("#draw-paper").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    page.mouse.move(*points[0])
    page.mouse.down()
    frames = []
    for point in points[1:]:
        page.mouse.move(*point, steps=3)
        frames.append(shot(page))
    page.mouse.up()
    page.wait_for_timeout(600)
    return [*frames, shot(page)]


def thinned(frames: list[Image.Image], n: int) -> list[Image.Image]:
    """Return n of the frames, evenly apart, the last with them."""
    return [frames[round(i * (len(frames) - 1) / (n - 1))] for i in range(n)]


def main() -> None:
    """Record eight seconds and a picture of their end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        page.goto(f"{(HERE / 'index.html').as_uri()}#live?seed={SEED}")
        page.wait_for_timeout(1_000)
        start = shot(page)
        page.locator("#live-go").click()
        taught = recorded(page, "students")
        copied = recorded(page, "After")
        page.wait_for_timeout(600)
        frames = [start] * 8 + thinned(taught, 16) + thinned(copied, 26) + [shot(page)] * 4
        frames += drawn(page)
        end = shot(page)
        frames += [end] * (80 - len(frames))
        page.set_viewport_size({"width": 1200, "height": 630})
        page.screenshot(path=HERE / "preview.png")
        browser.close()
    height = round(WIDTH * VIEW["height"] / VIEW["width"])
    palette = end.quantize(COLOURS)
    small = [
        frame.resize((WIDTH, height)).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    small[0].save(
        HERE / "live.gif", save_all=True, append_images=small[1:], duration=FRAME_MS, loop=0
    )


if __name__ == "__main__":
    main()
