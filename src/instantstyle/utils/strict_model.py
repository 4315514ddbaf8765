"""`StrictModel`: pydantic's model with errors of this package, in one line."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import JobError
from .parsed_values import find_faults
from .text import cut, shorten

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_ERRORS = 10
"""Largest number of errors of a recipe that a message describes."""


class StrictModel(BaseModel):
    """A frozen model without unknown fields, whose validation errors are one `JobError` in one line.

    Texts must be Unicode without NUL characters, integers have at most 64 bits, booleans are no numbers, and values
    are few and shallow: parsers of JSON and YAML pass on others, which files and tokenizers cannot hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: ClassVar[Mapping[str, str]] = {}
    """Names by which users may call fields elsewhere, for hints on unknown fields."""

    @model_validator(mode="wrap")
    @classmethod
    def _raise_job_error(cls, fields: object, validate: Callable[[object], Self]) -> Self:
        flags = [name for name, field in cls.model_fields.items() if field.annotation is bool]
        if faults := list(islice(find_faults(fields, flags), MAX_ERRORS)):
            raise JobError(f"{cls.__name__} is invalid: {'; '.join(faults)}.")
        try:
            return validate(fields)
        except ValidationError as error:
            known = list(cls.model_fields)
            errors = error.errors(include_url=False)
            details = "; ".join(_describe_error(each, known, cls.aliases) for each in errors[:MAX_ERRORS])
            more = f"; and {len(errors) - MAX_ERRORS} more" if len(errors) > MAX_ERRORS else ""
            raise JobError(f"{cls.__name__} is invalid: {details}{more}.") from None


def _describe_error(error: "ErrorDetails", known: list[str], aliases: Mapping[str, str]) -> str:
    field = cut(".".join(str(part) for part in error["loc"]), 80)
    if error["type"] == "extra_forbidden":
        # Short names are those of options and sweeps; files and requests have the names of fields.
        aliases = {alias: name for alias, name in aliases.items() if name in known}
        near = [aliases[field]] if field in aliases else get_close_matches(field, [*known, *aliases], n=1)
        return f"there is no field {field}{f' (perhaps {aliases.get(near[0], near[0])})' if near else ''}"
    if error["type"] == "missing":
        return f"{field} is missing"
    rule = error["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return f"{field} is {shorten(error['input'])}, {rule}" if field else rule
