"""Requests of other sites' pages are refused before their body is read."""

import asyncio

from instantstyle.utils.local_guard import LocalGuard


def request(headers: dict[str, str], *, has_secret: bool = False, kind: str = "http") -> list:
    """Send a request through the guard; return the messages of the answer."""
    sent = []

    async def app(scope, receive, send):
        await send("passed")

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("the body was read")

    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(LocalGuard(app, has_secret)({"type": kind, "headers": fields}, receive, send))
    return sent


REQUESTS = [
    # Host, Origin, allowed without and with a secret
    ("127.0.0.1:7860", None, True, True),
    ("localhost:7860", "http://127.0.0.1:7860", True, False),
    ("localhost:7860", "http://localhost:7860", True, True),
    ("localhost:7860", "http://localhost:3000", False, False),
    ("localhost:7860", "http://evil.example", False, False),
    ("localhost:7860", "null", False, False),
    ("evil.example:7860", "http://evil.example:7860", False, True),
    ("evil.example:7860", None, False, True),
    ("studio.example", "https://studio.example", False, True),
]


def test_host_and_origin_decide():
    for host, origin, *allowed in REQUESTS:
        headers = {"Host": host, **({"Origin": origin} if origin else {})}
        passed = [request(headers, has_secret=secret) == ["passed"] for secret in (False, True)]
        assert passed == allowed, (host, origin)


def test_a_refused_request_is_answered_403_and_a_refused_websocket_closed():
    headers = {"Host": "evil.example"}
    assert [message.get("status") for message in request(headers)] == [403, None]
    assert [message["type"] for message in request(headers, kind="websocket")] == ["websocket.close"]
