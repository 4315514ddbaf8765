"""Requests generated from the OpenAPI schema, valid and invalid: none ends in a server error."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from PIL import Image
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import unregister_string_format

from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Limits, Settings
from instantstyle.server.service import Service

from .conftest import png, running

# Bounds the cost of an image; requests for more are refused.
_LIMITS = Limits(image_pixels=64 * 64, steps=2, images=2)

_FEW_EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
)


@pytest.fixture
def _image_files() -> Iterator[None]:
    """Generate mostly valid image files; with arbitrary bytes no form would reach the generation."""
    whole = png(Image.new("RGB", (20, 12), "teal"))
    files = strategies.sampled_from([whole, whole, whole, whole[:-9], b""]) | strategies.binary(max_size=64)
    schemathesis.openapi.format("binary", files)
    yield
    unregister_string_format("binary")


@pytest.mark.slow
@pytest.mark.usefixtures("_image_files")
@pytest.mark.filterwarnings("ignore::instantstyle.errors.RequestWarning")
def test_no_request_ends_in_a_server_error(tmp_path, styled):
    styled.defaults = {"num_inference_steps": 1, "height": 16, "width": 16}
    service = Service([ModelWorker(styled)], Settings(model="small", folder=tmp_path, limits=_LIMITS))
    statuses: dict[str, set[int]] = {}
    with running(service) as (_, url, _):
        for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()

            @_FEW_EXAMPLES
            @given(operation.as_strategy())
            def probe(case):
                response = case.call(timeout=120)
                statuses.setdefault(case.operation.label, set()).add(response.status_code)
                # An error after a stream has begun is an event of the stream.
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
    # Some of the requests have generated images and stored styles.
    assert 200 in statuses["POST /v1/images/generations"]
    assert 200 in statuses["POST /v1/images/edits"]
    assert 201 in statuses["POST /v1/styles"]
