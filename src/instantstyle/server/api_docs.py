"""The pages `/docs` and `/redoc`, with scripts and style sheets from this machine instead of a CDN."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from .middleware import DOCS_FILES

_FOLDER = Path(fastapi_offline.__file__).parent / "static"
_NO_ICON = "data:,"


def docs_routes(app: FastAPI) -> APIRouter:
    """Create the routes of the documentation, and `/`, which leads to it.

    Args:
        app: The application that is documented. Its files are mounted.

    Returns:
        The routes; they are not part of the OpenAPI schema.
    """
    routes = APIRouter(include_in_schema=False)
    app.mount(DOCS_FILES, StaticFiles(directory=_FOLDER))

    @routes.get("/")
    async def index() -> RedirectResponse:
        return RedirectResponse("/docs")

    @routes.get("/docs")
    async def swagger() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            oauth2_redirect_url="/docs/oauth2-redirect",
            swagger_js_url=f"{DOCS_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{DOCS_FILES}/swagger-ui.css",
            swagger_favicon_url=_NO_ICON,
        )

    @routes.get("/docs/oauth2-redirect")
    async def oauth2_redirect() -> HTMLResponse:
        return get_swagger_ui_oauth2_redirect_html()

    @routes.get("/redoc")
    async def redoc() -> HTMLResponse:
        return get_redoc_html(
            openapi_url="/openapi.json",
            title=app.title,
            redoc_js_url=f"{DOCS_FILES}/redoc.standalone.js",
            redoc_favicon_url=_NO_ICON,
            with_google_fonts=False,
        )

    return routes
