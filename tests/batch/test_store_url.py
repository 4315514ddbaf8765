"""Of a store's URL nothing is told that would open the store."""

import pytest

from instantstyle.batch.store_url import StoreUrl


@pytest.mark.parametrize(
    ("url", "told"),
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
def test_an_address_is_printed_without_password_and_query(url, told):
    address = StoreUrl(url)
    assert str(address) == told
    assert "sec" not in repr(address)


def test_faults_are_told_in_one_line_without_what_is_secret():
    address = StoreUrl("ftp://me:hush%2Fhush@host/drawn?token=quiet")
    fault = ValueError(
        f"no {address.url}\nby me with hush/hush, token=quiet; see https://other/place?signature=abc&x=1 or "
        "sftp://you:word@there/x."
    )
    assert address.told(fault) == (
        "ValueError: no ftp://me@host/drawn by me with ***, ***; see https://other/place or sftp://you@there/x"
    )


def test_a_password_that_is_taken_for_a_port_is_not_told():
    fault = ValueError("Port could not be cast to integer value as 'hush'")
    assert "hush" not in StoreUrl("ftp://me:hush/hush@host/drawn").told(fault)


def test_a_fault_without_words_is_told_by_its_kind():
    assert StoreUrl("s3://pictures").told(TimeoutError()) == "TimeoutError"


def test_a_store_is_the_same_whatever_its_password_and_another_on_another_host():
    same = {StoreUrl(url).key for url in ("ftp://me:a@host/x", "ftp://me:b@host/x/", "ftp://me@host/x")}
    assert len(same) == 1
    assert StoreUrl("ftp://me:a@other/x").key not in same
