"""Policies in Terraform's language: jsonencode, heredocs and aws_iam_policy_document, as far as all is literal; pure.

Source: Terraform language, "Expressions" (https://developer.hashicorp.com/terraform/language/expressions/strings), and
the AWS provider's data source aws_iam_policy_document (hashicorp/terraform-provider-aws,
website/docs/d/iam_policy_document.html.markdown).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:.-]*")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z.-])")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
ENCODED = re.compile(r"\bjsonencode\s*\(\s*(?=[{\[])")
DATA = re.compile(r'\bdata\s+"aws_iam_policy_document"\s+"[^"\n]*"\s*(?=\{)')
MOST_DEPTH = 20
MOST = 10  # policies of one text
LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}


class NotLiteral(ValueError):
    """Only Terraform knows what stands there: a variable, a reference, a function."""


def policies(text: str) -> Iterator[tuple[int, Any]]:
    """Yield where each policy begins, and the policy; None for one that is not all literal."""
    places = [(match.end(), False) for match in ENCODED.finditer(text)]
    places += [(match.end(), True) for match in DATA.finditer(text)]
    for at, is_data in sorted(places)[:MOST]:
        reader = _Reader(text, at)
        try:
            yield at, _of_data(reader.body()) if is_data else reader.value(0)
        except NotLiteral:
            yield at, None


class _Reader:
    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def _skip(self) -> str:
        match = BLANK.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> Any:
        """Read a literal.

        Raises:
            NotLiteral: it is none.
        """
        sign = self._skip()
        if depth > MOST_DEPTH:
            raise NotLiteral
        if sign == '"':
            return self._string()
        if sign == "[":
            self.at += 1
            items = []
            while self._skip() != "]":
                items.append(self.value(depth + 1))
            self.at += 1
            return items
        if sign == "{":
            self.at += 1
            members: dict[str, Any] = {}
            while self._skip() != "}":
                name = self._string() if self.text[self.at : self.at + 1] == '"' else self._word()
                if self._skip() not in ("=", ":") or not self._skip():
                    raise NotLiteral
                self.at += 1
                members[name] = self.value(depth + 1)
            self.at += 1
            return members
        number = NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return number[0]
        word = self._word()
        if word in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word]
        raise NotLiteral

    def body(self, depth: int = 0) -> list[tuple[str, Any]]:
        """Read a block: its attributes, and its blocks as lists of the same.

        Raises:
            NotLiteral: an attribute is none.
        """
        if self._skip() != "{" or depth > MOST_DEPTH:
            raise NotLiteral
        self.at += 1
        found: list[tuple[str, Any]] = []
        while self._skip() != "}":
            name = self._word()
            if self._skip() == "=":
                self.at += 1
                found.append((name, self.value(0)))
            else:
                found.append((name, self.body(depth + 1)))
        self.at += 1
        return found

    def _word(self) -> str:
        match = NAME.match(self.text, self.at)
        if match is None:
            raise NotLiteral
        self.at = match.end()
        return match[0]

    def _string(self) -> str:
        match = STRING.match(self.text, self.at)
        if match is None:
            raise NotLiteral
        self.at = match.end()
        return literal(re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[0]), match[1]))


def literal(text: str) -> str:
    """Return a text as Terraform reads it.

    Raises:
        NotLiteral: it has something in it that Terraform fills in.
    """
    bare = text.replace("$${", "").replace("%%{", "")
    if "${" in bare or "%{" in bare:
        raise NotLiteral
    return text.replace("$${", "${").replace("%%{", "%{")


def _of_data(body: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the policy that the data source makes of its blocks."""
    policy: dict[str, Any] = {"Version": "2012-10-17"}
    statements = []
    for name, value in body:
        if name == "statement":
            statements.append(_statement(value))
        elif name == "version":
            policy["Version"] = value
        elif name == "policy_id":
            policy["Id"] = value
        else:
            raise NotLiteral
    return {**policy, "Statement": statements}


def _statement(body: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": "Allow"}
    condition: dict[str, Any] = {}
    for name, value in body:
        if name in ("sid", "effect"):
            found[name.capitalize()] = value
        elif name in LISTS:
            found[LISTS[name]] = _variables(value)
        elif name in ("principals", "not_principals"):
            element = "Principal" if name == "principals" else "NotPrincipal"
            who = dict(value)
            of_kind = found.setdefault(element, {}).setdefault(who["type"], []) if "type" in who else None
            if of_kind is None:
                raise NotLiteral
            of_kind += who.get("identifiers", [])
        elif name == "condition":
            what = dict(value)
            if not {"test", "variable", "values"} <= what.keys():
                raise NotLiteral
            condition.setdefault(what["test"], {})[what["variable"]] = _variables(what["values"])
        else:
            raise NotLiteral
    for element in ("Principal", "NotPrincipal"):
        if element in found:
            found[element] = {kind: _one(names) for kind, names in found[element].items()}
            if found[element] in ({"*": "*"}, {"*": ["*"]}):
                found[element] = "*"
    return {**found, **({"Condition": condition} if condition else {})}


def _variables(value: Any) -> Any:
    """Return values with IAM's variables as IAM writes them: in Terraform they are `&{…}`."""
    return _one([str(each).replace("&{", "${") for each in value]) if isinstance(value, list) else value


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
