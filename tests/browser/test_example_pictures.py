"""Searching on the page with a picture instead of words, in a real browser."""

import re
from pathlib import Path

from playwright.sync_api import expect

from laion_hpc.files.index_folder import vector_id
from tests.browser.conftest import Visit
from tests.browser.steps import search, state


def test_search_with_a_picture(visit: Visit, picture: Path) -> None:
    page = visit.go("/?safe=0")
    page.click("#picture")
    expect(page.locator("#address")).to_be_focused()
    page.set_input_files("#file", picture)
    expect(page.locator(".part")).to_have_text("Your picture")
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))
    page.reload()  # a picture is no part of the address, but of the visit
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))
    expect(page.locator(".part")).to_be_visible()


def test_drop_a_picture(visit: Visit, picture: Path) -> None:
    page = visit.go("/?safe=0")
    data = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "mine.jpg", {type: "image/jpeg"}));
            return data;
        }""",
        list(picture.read_bytes()),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))


def test_what_is_no_picture_is_told(visit: Visit, tmp_path: Path) -> None:
    page = visit.go()
    visit.ids()  # the page has come to rest
    (tmp_path / "no.jpg").write_text("no picture")
    page.set_input_files("#file", tmp_path / "no.jpg")
    expect(page.locator("#message-text")).to_contain_text("cannot read that file as a picture")
    expect(page.locator("#message")).to_be_in_viewport()
    page.click("#message-action")
    expect(page.locator("#message")).to_be_hidden()


def test_address_of_an_image(visit: Visit) -> None:
    page = visit.go()
    search(page, "https://somewhere.example.invalid/a.jpg")
    expect(page.locator("#message-title")).to_have_text("That did not work")
    expect(page.locator("#message-text")).to_have_text("image URLs are switched off")
    assert state(page) == {"url": "https://somewhere.example.invalid/a.jpg"}
    # The refused request, and the picture beside the words, which cannot be loaded.
    assert all(re.search("403|ERR_NAME_NOT_RESOLVED", text) for text in visit.complaints)
    visit.complaints.clear()
