"""Whatever the service's own description allows, and much that it does not, is answered without a fault."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from PIL import Image
from schemathesis.specs.openapi import unregister_string_format

from instantstyle.generation.worker import Painter
from instantstyle.server import Limits, Settings
from instantstyle.server.service import Service

from .conftest import png, running

# What a picture costs; more is refused, as it is meant to be.
_BOUNDS = Limits(pixels=64 * 64, steps=2, pictures=2)

_SOME = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def _sent() -> Iterator[None]:
    """For a picture: one that is whole, mostly, or anything; else no form would come to be drawn."""
    whole = png(Image.new("RGB", (20, 12), "teal"))
    some = strategies.sampled_from([whole, whole, whole, whole[:-9], b""]) | strategies.binary(max_size=64)
    schemathesis.openapi.format("binary", some)
    yield
    unregister_string_format("binary")


@pytest.mark.slow
@pytest.mark.usefixtures("_sent")
def test_no_request_ends_in_a_fault_of_ours(tmp_path, styled):
    styled.defaults = {"num_inference_steps": 1, "height": 16, "width": 16}
    service = Service([Painter(styled)], Settings(model="small", folder=tmp_path, bounds=_BOUNDS))
    statuses: dict[str, set[int]] = {}
    with running(service) as (_, url, _):
        for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
            operation = found.ok()

            @_SOME
            @given(operation.as_strategy())
            def probe(case):
                response = case.call(timeout=120)
                statuses.setdefault(case.operation.label, set()).add(response.status_code)
                # A fault after a stream has begun is an event in it.
                assert response.status_code < 500, response.text
                assert "server_error" not in response.text

            probe()
    assert set(statuses) == {
        "POST /v1/images/generations",
        "POST /v1/images/edits",
        "POST /v1/styles",
        "GET /v1/styles",
        "GET /v1/styles/{style_id}",
        "DELETE /v1/styles/{style_id}",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    # The fuzz draws and keeps too: it does not only knock at the door.
    assert 200 in statuses["POST /v1/images/generations"]
    assert 200 in statuses["POST /v1/images/edits"]
    assert 201 in statuses["POST /v1/styles"]
