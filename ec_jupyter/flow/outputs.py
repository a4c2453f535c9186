"""What is known of the parts of a result, and whether a plug that picks one fits. Pure."""

from __future__ import annotations

from ec_jupyter.errors import WiringError, nearest
from ec_jupyter.model import Condition, Parameter, Task

_CLASSES = ("int", "float", "complex", "bool", "str", "bytes", "list", "tuple", "dict", "set", "frozenset")
_WIDER = {("bool", "int"), ("bool", "float"), ("int", "float")}


def check_pick(
    pick: Condition | None, task: Task, source: str, argument: Parameter, target: str, *, split: bool
) -> None:
    """Refuse a plug that picks a part which its source does not give, or of another type than its target takes.

    `pick`: only a part by name is looked at. `task`: what the source runs. `split`: the plug feeds elements of the
    part. Raises WiringError: names the part and what there is, or both types and the way to convert.
    """
    part = pick.written.get("field") if pick else None
    if part is None or not task.outputs:
        return
    if part not in task.outputs:
        raise WiringError(f"the result of {source!r} has no part {part!r}; {nearest(part, task.outputs)}")
    given, taken = task.outputs[part], argument.annotation or ""
    known = given in _CLASSES and taken in _CLASSES
    if known and not split and given != taken and (given, taken) not in _WIDER:
        raise WiringError(
            f"{source}.{part} is of type {given}, {target}.{argument.name} takes {taken}; "
            f'pick="{taken}(result[{part!r}])", or a function, converts it'
        )
