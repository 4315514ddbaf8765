"""Run-time checks of shapes and types while the tests run: beartype, on everything that it can decorate."""

import sys
from typing import Any

from beartype import BeartypeConf, FrozenDict, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

PROTOCOLS = "instantstyle.core.protocols"


def checked(thing: Any) -> Any:
    """Decorate unless it returns `typing.Self`, which beartype accepts only on a class decorated as a whole."""
    try:
        return beartype(thing, conf=_configuration())
    except BeartypeDecorHintPep673Exception:
        return thing


def _configuration() -> BeartypeConf:
    """Accept an int for a float, as type checkers do, and any object for a protocol.

    diffusers registers a pipeline's components at run time, and tests pass a part of them; pyright checks protocols.
    """
    names = ("AttentionModule", "ContentEncoder", "Pipeline", "Scheduler", "UNet")
    # Not imported here: the import would need this module.
    found = [getattr(sys.modules.get(PROTOCOLS), name, None) for name in names]
    return BeartypeConf(
        is_pep484_tower=True,
        hint_overrides=FrozenDict({protocol: object for protocol in found if protocol is not None}),
    )
