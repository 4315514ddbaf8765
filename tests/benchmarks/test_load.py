"""What a crowd of clients is told to have got, is what it got."""

from benchmarks.load import Server, stage, stored, told
from instantstyle.server import Bounds, Settings
from instantstyle.server.painter import Painter
from instantstyle.server.service import Service

from ..server.conftest import running


def test_latencies_become_a_rate_and_two_percentiles():
    found = told([1.0] * 19 + [5.0], 40.0)
    assert (found["requests_a_minute"], found["p50_seconds"]) == (30.0, 1.0)
    assert 1.0 < found["p95_seconds"] <= 5.0
    assert told([], 40.0)["requests_a_minute"] == 0.0


def test_a_crowd_is_counted_and_what_is_refused_is_called_lost(tmp_path):
    settings = Settings(folder=tmp_path, bounds=Bounds(waiting=1))
    service = Service([Painter.loaded("mini", None, None, "cpu")], settings)
    with running(service) as (_, url, _):
        server = Server(int(url.rpartition(":")[2]))
        assert server.is_ready()
        style = stored(server)
        alone = stage(server, style, 1, 0.1)
        crowd = stage(server, style, 6, 0.1)
    assert alone["lost"] == 0
    assert alone["statuses"] == {"200": alone["asked"]}
    assert crowd["lost"] == crowd["statuses"]["429"] > 0
    assert crowd["resident_bytes_after"] > 0
