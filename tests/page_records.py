"""Pages that are made of records, for the tests in a browser."""

from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


def written(pages, folder):
    """Write pages into a folder and return the address of the first."""
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (folder / "index.html").as_uri()


@contextmanager
def opened(browser, address):
    """Open a page; afterwards nothing may have been complained of or asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    # The browser has advice for who reads a canvas often, as a test does.
    page.on("console", lambda m: "willReadFrequently" in m.text or complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    page.close()
    assert not complaints
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [address]
