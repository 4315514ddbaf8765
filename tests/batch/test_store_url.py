"""A store's URL never shows credentials."""

import pytest

from instantstyle.batch.store_url import StoreUrl


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://pictures/drawn/", "s3://pictures/drawn"),
        ("memory://", "memory://"),
        ("sftp://me:secret@host/drawn", "sftp://me@host/drawn"),
        ("sftp://me@host:22/drawn@2x", "sftp://me@host:22/drawn@2x"),
        ("sftp://host:22/drawn@2x", "sftp://host:22/drawn@2x"),
        ("ftp://me:sec/ret@host/drawn", "ftp://me@host/drawn"),
        ("ftp://me:sec@ret@host/drawn", "ftp://me@host/drawn"),
        ("simplecache::ftp://me:secret@host/drawn", "simplecache::ftp://me@host/drawn"),
        ("abfs://drawn@account.dfs.core.windows.net/x", "abfs://drawn@account.dfs.core.windows.net/x"),
        ("https://host/drawn?signature=secret", "https://host/drawn"),
    ],
)
def test_a_url_is_printed_without_password_and_query(url, expected):
    store_url = StoreUrl(url)
    assert str(store_url) == expected
    assert "sec" not in repr(store_url)


def test_errors_are_described_in_one_line_without_secrets():
    store_url = StoreUrl("ftp://me:hush%2Fhush@host/drawn?token=quiet")
    error = ValueError(
        f"no {store_url.url}\nby me with hush/hush, token=quiet; "
        "see https://other/place?signature=abc&x=1 or sftp://you:word@there/x."
    )
    assert store_url.describe_error(error) == (
        "ValueError: no ftp://me@host/drawn by me with ***, ***; see https://other/place or sftp://you@there/x"
    )


def test_a_password_that_is_parsed_as_a_port_is_not_shown():
    error = ValueError("Port could not be cast to integer value as 'hush'")
    assert "hush" not in StoreUrl("ftp://me:hush/hush@host/drawn").describe_error(error)


def test_an_error_without_text_is_described_by_its_type():
    assert StoreUrl("s3://pictures").describe_error(TimeoutError()) == "TimeoutError"


def test_the_key_depends_on_the_host_but_not_on_the_password():
    same = {StoreUrl(url).key for url in ("ftp://me:a@host/x", "ftp://me:b@host/x/", "ftp://me@host/x")}
    assert len(same) == 1
    assert StoreUrl("ftp://me:a@other/x").key not in same
