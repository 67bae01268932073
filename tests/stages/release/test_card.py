import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laion_hpc.stages.release.card import About, hub_languages, size_category
from laion_hpc.stages.release.json_text import encode


def test_codes_of_cld3_become_codes_of_the_hub() -> None:
    codes = ["zh-Latn", "zh", "iw", "en", "nolang", "", "hmn", "bg-Latn"]
    assert hub_languages(codes) == ["bg", "en", "he", "hmn", "zh"]


@pytest.mark.parametrize(
    ("count", "name"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (5_850_000_000, "1B<n<10B"),
        (999_999, "100K<n<1M"),
        (10**12, "n>1T"),
    ],
)
def test_size_categories_are_the_hubs(count: int, name: str) -> None:
    assert size_category(count) == name


@pytest.mark.parametrize(
    ("license", "url"),
    [
        ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("cc-by-nc-sa-3.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/"),
        ("cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("https://example.org/terms", "https://example.org/terms"),
    ],
)
def test_licence_urls(license: str, url: str) -> None:
    about = About("", license, "", {}, {}, "0", {}, {})
    assert about.license_url == url


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
)


@settings(max_examples=50)
@given(_JSON)
@example(["[1,   2]", {"a": [1, 2.5]}])
def test_plain_json_is_json(data: object) -> None:
    assert json.loads(encode(data)) == data
