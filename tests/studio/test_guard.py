"""The studio that is served answers no page of another site (DNS rebinding, uploads across sites)."""

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the studio is an extra")

import httpx2

from instantstyle.studio.page import launch_page

from .conftest import run_in_event_loop


def test_requests_of_other_sites_are_refused_and_write_nothing(worker, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    page = run_in_event_loop(lambda: launch_page(worker, settings))
    try:
        url = str(page.local_url).rstrip("/")
        port = url.rpartition(":")[2]
        upload = {"files": ("ink.png", b"an image")}
        foreign = [
            {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost:1"},
            {"Origin": "null"},
        ]
        for headers in foreign:
            answers = [
                httpx2.get(f"{url}/config", headers=headers),
                httpx2.post(f"{url}/gradio_api/queue/join", json={"data": []}, headers=headers),
                httpx2.post(f"{url}/gradio_api/upload", files=upload, headers=headers),
                httpx2.options(f"{url}/config", headers={**headers, "Access-Control-Request-Method": "POST"}),
            ]
            assert [answer.status_code for answer in answers] == [403] * 4
            assert [name for answer in answers for name in answer.headers if name.startswith("access-control")] == []
        assert not list(Path(tmp_path, "gradio").rglob("ink.png"))
        assert httpx2.get(f"{url}/config", headers={"Origin": url}).status_code == 200
        assert httpx2.post(f"{url}/gradio_api/upload", files=upload).status_code == 200
    finally:
        page.close()
