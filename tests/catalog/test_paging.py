"""Pages of a search: all of them, in any way that servers make them, and an end in every case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.catalog.paging import MAX_EMPTY, PageRequest, PageTooLargeError, number_matched, pages
from toolkit.errors import RemoteError

URL = "https://stac.example.org/v1/search"
FIRST = PageRequest(method="POST", url=URL, body={"collections": ["a"], "limit": 100})


def feature(number):
    return {"collection": "a", "id": str(number)}


def next_link(token, **more):
    return {"rel": "next", "href": URL, "method": "POST", "body": {"token": token, **more}}


def page(numbers, link=None, **more):
    return {"features": [feature(n) for n in numbers], "links": [link] if link else [], **more}


class Catalog:
    """Answers by token; remembers what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def __call__(self, request):
        self.asked.append(request)
        return self.answers[request.body.get("token", 0)]


def ids(found):
    return [int(one["id"]) for page in found for one in page["features"]]


def test_pages_are_followed_to_the_last():
    ask = Catalog({0: page([1, 2], next_link(1)), 1: page([3], next_link(2)), 2: page([4])})
    assert ids(pages(ask, FIRST)) == [1, 2, 3, 4]


def test_an_empty_page_in_the_middle_is_not_the_end():
    ask = Catalog({0: page([1], next_link(1)), 1: page([], next_link(2)), 2: page([2])})
    assert ids(pages(ask, FIRST)) == [1, 2]


def test_a_next_link_on_the_last_page_is_not_followed_when_all_are_there():
    ask = Catalog({0: page([1, 2], next_link(1), numberMatched=2)})
    assert ids(pages(ask, FIRST)) == [1, 2]
    assert len(ask.asked) == 1


def test_empty_pages_without_end_end():
    class Endless:
        def __call__(self, request):
            return page([], next_link(request.body.get("token", 0) + 1))

    assert len(list(pages(Endless(), FIRST))) == MAX_EMPTY


def test_a_page_that_leads_to_itself_is_an_error_not_a_loop():
    ask = Catalog({0: page([1], next_link(1)), 1: page([2], next_link(1))})
    with pytest.raises(RemoteError, match="do not end"):
        list(pages(ask, FIRST))


def test_the_same_items_under_new_links_are_an_error_not_a_loop():
    class Forgetful:
        def __call__(self, request):
            return page([1, 2], next_link(request.body.get("token", 0) + 1))

    with pytest.raises(RemoteError, match="the same 2 items again"):
        list(pages(Forgetful(), FIRST))


def test_more_pages_than_any_search_has_are_an_error(monkeypatch):
    monkeypatch.setattr("toolkit.catalog.paging.MAX_PAGES", 5)

    class Endless:
        def __call__(self, request):
            token = request.body.get("token", 0) + 1
            return page([token], next_link(token))

    with pytest.raises(RemoteError, match="do not end"):
        list(pages(Endless(), FIRST))


def test_a_server_that_gives_up_is_asked_for_smaller_pages_from_then_on():
    class Small:
        asked = ()

        def __call__(self, request):
            self.asked += (request.body["limit"],)
            if request.body["limit"] > 30:
                raise PageTooLargeError("502")
            token = request.body.get("token", 0)
            return page([token], next_link(token + 1, limit=100) if token < 2 else None)

    ask = Small()
    assert ids(pages(ask, FIRST)) == [0, 1, 2]
    assert ask.asked == (100, 50, 25, 25, 25)


def test_a_server_that_gives_up_on_the_smallest_page_is_an_error():
    def ask(request):
        raise PageTooLargeError(str(request.body["limit"]))

    with pytest.raises(PageTooLargeError, match="6"):
        list(pages(ask, FIRST))


def test_limits_in_the_address_are_made_smaller_too():
    request = PageRequest(method="GET", url=f"{URL}?limit=100&token=x")
    assert request.smaller().url == f"{URL}?limit=50&token=x"


def test_a_link_that_says_merge_keeps_the_search():
    link = {"rel": "next", "href": URL, "method": "POST", "merge": True, "body": {"token": 1}}
    ask = Catalog({0: page([1], link), 1: page([2])})
    assert ids(pages(ask, FIRST)) == [1, 2]
    assert ask.asked[1].body == {"collections": ["a"], "limit": 100, "token": 1}


def test_relative_next_links_count_from_the_search():
    link = {"rel": "next", "href": "search?token=1"}
    ask = Catalog({0: page([1], link)})
    found = pages(ask, FIRST)
    next(found)
    ask.answers = {0: page([2])}
    assert ids(found) == [2]
    assert (ask.asked[1].method, ask.asked[1].url) == ("GET", f"{URL}?token=1")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"numberMatched": 3}, 3),
        ({"context": {"matched": 4}}, 4),
        ({}, None),
        ({"numberMatched": None}, None),
    ],
)
def test_the_number_of_items_is_found_where_catalogs_tell_it(body, expected):
    assert number_matched(body) == expected


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=8))
def test_whatever_the_pages_hold_each_is_asked_for_at_most_once(contents):
    answers = {
        k: page(numbers, next_link(k + 1) if k + 1 < len(contents) else None)
        for k, numbers in enumerate(contents)
    }
    ask = Catalog(answers)
    try:
        found = set(ids(pages(ask, FIRST)))
    except RemoteError:
        return  # pages repeat items
    tokens = [request.body.get("token", 0) for request in ask.asked]
    assert len(tokens) == len(set(tokens))
    if len(tokens) == len(contents):
        assert found == {n for numbers in contents for n in numbers}
