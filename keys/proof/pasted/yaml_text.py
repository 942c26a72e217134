"""YAML, of the AWS CLI or of CloudFormation, as plain values; functions of CloudFormation stay what they are; pure."""

from __future__ import annotations

from typing import Any

import yaml

MOST_NODES = 4_000
MOST_DEPTH = 30
# libyaml's parser where it was built: the other one would take ten times as long
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORDS = {"true": True, "false": False}


class NotYaml(ValueError):
    """The text is not YAML that we read."""


def read(text: str) -> Any:
    """Return what a text of one document says; scalars are texts, but for true and false.

    Raises:
        NotYaml: it is not YAML, or too much of it.
    """
    try:
        _measure(text)
        node = yaml.compose(text, Loader=LOADER)
        return _plain(node, [0], 0) if node is not None else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise NotYaml from error


def _measure(text: str) -> None:
    """Go through the events first: a composer calls itself for each level, and libyaml's ends the process when there
    are many thousands.

    Raises:
        NotYaml: it is nested too deep, or has too much in it.
    """
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH or number > 3 * MOST_NODES:
            raise NotYaml


def _plain(node: Any, seen: list[int], depth: int) -> Any:
    seen[0] += 1  # an alias is visited each time: what it stands for may be large
    if seen[0] > MOST_NODES or depth > MOST_DEPTH:
        raise NotYaml
    if node.tag.startswith("!"):  # `!Sub …`, which JSON writes as an object
        name = node.tag.removeprefix("!")
        return {name if name == "Ref" else f"Fn::{name}": str(node.value)[:200]}
    if isinstance(node, yaml.MappingNode):
        return {str(_plain(key, seen, depth + 1)): _plain(value, seen, depth + 1) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, seen, depth + 1) for each in node.value]
    if node.style is None and str(node.value).lower() in WORDS:
        return WORDS[str(node.value).lower()]
    return None if node.style is None and node.value in ("", "null", "~") else str(node.value)
