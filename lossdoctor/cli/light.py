"""Values that need no conversion stay as typed: Typer imports pydantic, half of a short command's time, for any of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class _AsTyped:
    """Stands for what Typer would make to convert a parameter, and makes it where there is something to convert."""

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """Nothing, text for text and a default number as they are; all else as Typer converts it."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind = param.type_descriptor.annotation
        if kind in (str, int) and type(value) is kind:
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def lightened(command: Any, help_names: list[str]) -> Any:
    """The same command, in which only what is given and is no text is converted. Another Typer's command stays as it is."""
    context = SimpleNamespace(help_option_names=help_names)
    for each in (command, *getattr(command, "commands", {}).values()):
        # The help option is made, and kept, when it is first asked for.
        helps = [each.get_help_option(context)] if hasattr(each, "_help_option") else []
        for param in (*each.params, *helps):
            if getattr(param, "_runtime_param", param) is None and hasattr(param, "type_descriptor"):
                param._runtime_param = _AsTyped()
    return command
