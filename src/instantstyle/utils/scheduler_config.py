"""A scheduler of diffusers with the settings of another one."""

import inspect
from typing import Any


def convert_scheduler(scheduler: Any, scheduler_class: Any, **changes: Any) -> Any:
    """Build a scheduler with the settings of another one that its class has too.

    diffusers warns of settings that a class does not have, unless the classes are listed as compatible:
    `LCMScheduler` has some that no other class has.

    Args:
        scheduler: A scheduler of diffusers.
        scheduler_class: Class of the new one.
        changes: Settings that differ.

    Raises:
        ValueError: The class does not accept a setting.
    """
    accepted = inspect.signature(scheduler_class.__init__).parameters
    # Names with an underscore tell diffusers which settings are defaults of the earlier class.
    settings = {name: value for name, value in scheduler.config.items() if name in accepted or name.startswith("_")}
    return scheduler_class.from_config(settings, **changes)
