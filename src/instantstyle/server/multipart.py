"""Multipart requests: their fields and images, and their description in the OpenAPI schema."""

import re
from typing import cast

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..utils.text import cut, shorten
from ..utils.text_file import parse_json
from .errors import ApiError
from .schemas import JSON_FIELDS, ApiRequest

MAX_IMAGES = 16
"""Images in a request, as in OpenAI's API."""

_ENTRY = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")
"""Name of an entry of a mapping, `blocks[style]`, as OpenAI's clients write it."""

Fields = dict[str, object]
"""Fields of a form by name: a text, a list of a repeated field, a mapping, or what a JSON text stands for."""

Uploads = list[tuple[str | None, bytes]]
"""Uploaded images in their order: the client's file name, and the bytes."""


async def read_form(request: Request) -> tuple[Fields, Uploads]:
    """Read a multipart request.

    Args:
        request: The request.

    Returns:
        The fields by name, where repeated fields (`name` or `name[]`) are lists, those with keys (`name[key]`)
        mappings, and JSON texts of `JSON_FIELDS` what they stand for; and the images.

    Raises:
        ApiError: The body is not multipart/form-data in UTF-8, there are too many images, a field other than `image`
            is a file, or `image` is none, a key of a mapping is there twice, or a JSON text cannot be read.
    """
    values: dict[str, list[str]] = {}
    images: Uploads = []
    form = await _make_parser(request).parse()
    try:
        for key, value in form.multi_items():
            name = _decode(key, "The name of a field").removesuffix("[]")
            if isinstance(value, UploadFile) != (name == "image"):
                raise _wrong_type(name)
            if isinstance(value, UploadFile):
                images.append((_decode_name(value.filename), await value.read()))
            else:
                values.setdefault(name, []).append(_decode(value, shorten(name)))
    finally:
        await form.close()
    if len(images) > MAX_IMAGES:
        raise ApiError(f"There are {len(images)} images; a request can have at most {MAX_IMAGES}.", param="image")
    return _collect(values), images


def _collect(values: dict[str, list[str]]) -> Fields:
    """Return texts, lists and mappings of the texts that were sent by name."""
    fields: Fields = {}
    for name, texts in values.items():
        if not (entry := _ENTRY.fullmatch(name)):
            fields[name] = _read_json(name, texts[0]) if len(texts) == 1 else texts
            continue
        field, key = entry.groups()
        mapping = fields.setdefault(field, {})
        if not isinstance(mapping, dict) or len(texts) > 1 or field in values:
            raise ApiError(
                f"{shorten(name)} is there twice, or beside {shorten(field)}; keep one of them.", param=cut(field, 80)
            )
        cast("dict[str, str]", mapping)[key] = texts[0]
    return fields


def _read_json(name: str, text: str) -> object:
    """Return what a JSON text stands for; other texts as they are: no name of a block begins as one."""
    if name not in JSON_FIELDS or not text.lstrip().startswith(("[", "{", '"')):
        return text
    try:
        return parse_json(text)
    except ValueError as error:
        raise ApiError(f"{name} cannot be read as JSON: {error}.", param=name) from None


def openapi_form(model: type[ApiRequest]) -> dict[str, object]:
    """Describe a multipart body for the OpenAPI schema.

    Args:
        model: The fields beside the images.

    Returns:
        The `requestBody` of an operation.
    """
    schema = model.model_json_schema()
    image = {"type": "string", "format": "binary"}
    schema["properties"]["image"] = {"type": "array", "items": image, "minItems": 1, "maxItems": MAX_IMAGES}
    schema["required"] = [*schema.get("required", []), "image"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


class _Parser(MultiPartParser):
    """Starlette's parser, with errors that say what to do."""

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        # Older versions of Starlette, such as 0.40, pass on the errors of python_multipart.
        except (MultiPartException, FormParserError) as error:
            reason = error.message.rstrip(".") if isinstance(error, MultiPartException) else "Invalid multipart data"
            raise ApiError(
                f"The body is not a valid form of multipart/form-data ({reason}); let an HTTP library write it, which "
                "also sets the boundary in Content-Type."
            ) from None


def _make_parser(request: Request) -> _Parser:
    """Create a parser that decodes texts as Latin-1, which keeps their bytes.

    Starlette decodes texts that are not valid in the charset of a request as Latin-1 without an error.

    Raises:
        ApiError: The request is not multipart.
    """
    sent = request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(
            f"An image is missing, which a body of Content-Type {shorten(sent)} cannot hold; send fields and images "
            "as multipart/form-data."
        )
    headers = Headers({"content-type": f"{sent}; charset=latin-1"})
    return _Parser(headers, request.stream(), max_files=MAX_IMAGES + 1, max_fields=200)


def _decode(text: str, name: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        raise ApiError(f"{name} is not text in UTF-8; encode it so.") from None


def _decode_name(name: str | None) -> str | None:
    """Decode the name of a file, which is only shown."""
    return None if name is None else name.encode("latin-1", "replace").decode(errors="replace")


def _wrong_type(name: str) -> ApiError:
    if name == "mask":
        return ApiError("mask is not supported: this service takes no mask; leave it out.", param="mask")
    if name == "image":
        return ApiError("image must be an image file; URLs and paths are not read.", param="image")
    return ApiError(f"{shorten(name)} is a file, and only image can be one.", param=cut(name, 80))
