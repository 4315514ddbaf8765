"""What a crowd of clients is told to have got, is what it got."""

import json
from base64 import b64encode
from io import BytesIO
from time import perf_counter

import pytest
from PIL import Image

from benchmarks.load import Answer, Server, client, holds_picture, stage, stored, told
from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Limits, Settings
from instantstyle.server.service import Service

from ..server.conftest import running


def test_latencies_become_a_rate_and_two_percentiles():
    found = told([1.0] * 19 + [5.0], 40.0)
    assert (found["requests_a_minute"], found["p50_seconds"]) == (30.0, 1.0)
    assert 1.0 < found["p95_seconds"] <= 5.0
    assert told([], 40.0)["requests_a_minute"] == 0.0


def test_a_crowd_is_counted_and_who_is_sent_away_is_not_lost(tmp_path):
    settings = Settings(folder=tmp_path, limits=Limits(queue=1))
    service = Service([ModelWorker.load("mini", device="cpu")], settings)
    with running(service) as (_, url, _):
        server = Server(int(url.rpartition(":")[2]))
        assert server.is_ready()
        style = stored(server)
        alone = stage(server, style, 1, 0.1)
        crowd = stage(server, style, 6, 0.1)
    assert alone["lost"] == alone["sent_away"] == 0
    assert alone["statuses"] == {"200": alone["asked"]}
    assert crowd["sent_away"] == crowd["statuses"]["429"] > 0
    assert crowd["asked"] == crowd["served"] + crowd["sent_away"]
    assert crowd["lost"] == 0
    assert len(crowd["resident_bytes"]) >= 2
    assert min(crowd["resident_bytes"]) > 0


@pytest.mark.parametrize(
    "answer",
    [Answer(500, 1.0), Answer(0, 1.0), Answer(200, 1.0), Answer(503, 1.0, wait=10), Answer(429, 1.0)],
)
def test_whatever_brings_neither_a_picture_nor_a_time_to_come_back_is_lost(answer):
    assert answer.lost


def test_half_a_picture_is_none():
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, format="PNG")

    def told(data: bytes) -> bytes:
        return json.dumps({"data": [{"b64_json": b64encode(data).decode()}]}).encode()

    assert holds_picture(told(file.getvalue()))
    for broken in (told(file.getvalue()[:-20]), told(b"no picture"), b"{}", b'{"data": []}', b"{"):
        assert not holds_picture(broken)


def test_who_is_sent_away_comes_back_when_told_to():
    class Full(Server):
        def ask(self, *_):
            return 429, b"", 0.2

    begun = perf_counter()
    answers = client(Full(0), "ink", 0, begun + 0.5)
    assert 2 <= len(answers) <= 3
    assert perf_counter() - begun >= 0.4
