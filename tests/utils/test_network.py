"""Which hosts and requests count as local, and when listening beyond this machine is refused."""

import pytest

from instantstyle import JobError
from instantstyle.utils.network import check_exposure, is_local_request, is_loopback

LOCAL = ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"]
REMOTE = [
    "0.0.0.0",
    "::",
    "192.168.1.5",
    "example.org",
    "localhost.evil.example",
    "127.0.0.1.x.org",
    "",
    None,
]


def test_only_localhost_and_loopback_addresses_are_local():
    assert [host for host in LOCAL if not is_loopback(host)] == []
    assert [host for host in REMOTE if is_loopback(host)] == []


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"host": "127.0.0.1:8000"}, True),
        ({"host": "[::1]:8000", "origin": "http://localhost:8000"}, True),
        ({}, False),
        ({"host": "evil.example"}, False),
        ({"host": "localhost", "origin": "https://evil.example"}, False),
        ({"host": "localhost", "origin": "null"}, False),
        ({"host": "localhost:8000", "origin": "http://localhost:3000"}, False),
        ({"host": "localhost:8000", "origin": "http://localhost"}, False),
        ({"host": "localhost", "origin": "http://127.0.0.1:80"}, True),
        ({"host": "localhost", "origin": "https://localhost"}, True),
        ({"host": "localhost:x", "origin": "http://localhost:8000"}, False),
        ({"host": "[bad"}, False),
        ({"host": "evil.example@localhost.evil.example"}, False),
    ],
)
def test_a_request_is_local_by_its_host_and_its_origin(headers, local):
    assert is_local_request(headers) is local


def test_other_machines_need_a_secret():
    words = {"service": "the studio", "secret": "password", "remedy": "set PASSWORD"}
    with pytest.raises(JobError, match=r"^On 0\.0\.0\.0 other machines can reach the studio, and it has no"):
        check_exposure("0.0.0.0", False, **words)
    check_exposure("0.0.0.0", True, **words)
    check_exposure("127.0.0.1", False, **words)
