"""Replies as JSON documents, for programs that ask with ``-j``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vport.shell.command import Reply


def as_json(reply: Reply) -> Reply:
    """Replace the text of a reply by its document; on failure there is none."""
    if reply.errno:
        return replace(reply, lines=())
    document = reply.document
    if document is None:
        document = {"lines": list(reply.lines or ())}
    return replace(reply, lines=_json_lines(document))


def _json_lines(document: object) -> Iterator[str]:
    """Write a document: an array with an element on each line, anything else on one."""
    if not isinstance(document, list | Iterator):
        yield json.dumps(document)
        return
    start = "["
    for element in document:
        yield start + json.dumps(element)
        start = ","
    yield "[]" if start == "[" else "]"
