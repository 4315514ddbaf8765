"""The benchmark of the service counts and classifies the answers of several clients."""

import json
from base64 import b64encode
from io import BytesIO
from time import perf_counter

import pytest
from PIL import Image

from benchmarks.load import (
    Answer,
    Server,
    has_complete_image,
    measure_clients,
    run_client,
    store_style,
    summarize_latencies,
)
from instantstyle.generation.model_parts import ModelParts
from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Limits, Settings
from instantstyle.server.service import Service

from ..server.conftest import running


def test_latencies_become_a_rate_and_two_percentiles():
    summary = summarize_latencies([1.0] * 19 + [5.0], 40.0)
    assert (summary["requests_a_minute"], summary["p50_seconds"]) == (30.0, 1.0)
    assert 1.0 < summary["p95_seconds"] <= 5.0
    assert summarize_latencies([], 40.0)["requests_a_minute"] == 0.0


@pytest.mark.slow
def test_answers_are_counted_and_rejected_ones_are_not_lost(tmp_path):
    settings = Settings(folder=tmp_path, limits=Limits(queue=1))
    service = Service([ModelWorker.load(ModelParts("mini"), device="cpu")], settings)
    with running(service) as (_, url, _):
        server = Server(int(url.rpartition(":")[2]))
        assert server.is_ready()
        style = store_style(server)
        alone = measure_clients(server, style, 1, 0.1)
        crowd = measure_clients(server, style, 6, 0.1)
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
def test_an_answer_without_an_image_or_a_time_to_come_back_is_lost(answer):
    assert answer.lost


def test_an_incomplete_image_does_not_count():
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, format="PNG")

    def answer(data: bytes) -> bytes:
        return json.dumps({"data": [{"b64_json": b64encode(data).decode()}]}).encode()

    assert has_complete_image(answer(file.getvalue()))
    for broken in (answer(file.getvalue()[:-20]), answer(b"no image"), b"{}", b'{"data": []}', b"{"):
        assert not has_complete_image(broken)


def test_a_rejected_client_waits_as_long_as_the_server_says():
    class Full(Server):
        def request(
            self, method: str, path: str, body: bytes = b"", content_type: str = ""
        ) -> tuple[int, bytes, float]:
            return 429, b"", 0.2

    started = perf_counter()
    answers = run_client(Full(0), "ink", 0, started + 0.5)
    assert 2 <= len(answers) <= 3
    assert perf_counter() - started >= 0.4
