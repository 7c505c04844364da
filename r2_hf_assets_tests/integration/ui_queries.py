"""The queries that the UI sends, taken from the installed webserver's own JavaScript."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dagster_webserver
from graphql.language import (
    FragmentDefinitionNode,
    FragmentSpreadNode,
    Node,
    OperationDefinitionNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

# A JavaScript string, in either kind of quotes, that begins like a GraphQL document.
_TEMPLATE = re.compile(r"""(["'])((?:\\n|\s)*(?:query|fragment) \w+(?:(?!\1)[^\\]|\\.)*)\1""")


@cache
def _bundle() -> tuple[dict[str, OperationDefinitionNode], dict[str, FragmentDefinitionNode]]:
    """Return queries and fragments by name."""
    queries: dict[str, OperationDefinitionNode] = {}
    fragments: dict[str, FragmentDefinitionNode] = {}
    for script in sorted(Path(dagster_webserver.__file__).parent.glob("webapp/build/_next/static/**/*.js")):
        for match in _TEMPLATE.finditer(script.read_text()):
            for definition in parse(_text(match[2]), no_location=True).definitions:
                if isinstance(definition, OperationDefinitionNode) and definition.name:
                    queries.setdefault(definition.name.value, definition)
                elif isinstance(definition, FragmentDefinitionNode):
                    fragments.setdefault(definition.name.value, definition)
    return queries, fragments


def _text(literal: str) -> str:
    """Parse a string literal: JSON's, but for the quotes."""
    plain = literal.replace("\\'", "'").replace('\\"', '"')
    return json.loads(f'"{plain.replace(chr(34), chr(92) + chr(34))}"')


def _spreads(node: Node) -> set[str]:
    names: set[str] = set()

    class Collect(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
            names.add(node.name.value)

    visit(node, Collect())
    return names


@cache
def document(name: str) -> str:
    """Return a query with all fragments that it needs."""
    queries, fragments = _bundle()
    parts: list[Node] = [queries[name]]
    included: set[str] = set()
    for part in parts:  # grows in the loop
        missing = _spreads(part) - included
        parts += [fragments[fragment] for fragment in sorted(missing)]
        included |= missing
    return "\n".join(map(print_ast, parts))


def names() -> list[str]:
    return sorted(_bundle()[0])


def variables(name: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the name, the type and whether it is required of each variable of a query."""
    for variable in _bundle()[0][name].variable_definitions:
        kind = print_ast(variable.type)
        yield variable.variable.name.value, kind.rstrip("!"), kind.endswith("!") and variable.default_value is None
