"""Write the description of the live stream as a page for people: plain HTML from the AsyncAPI document, no script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from api.docs.asyncapi import Json
from api.docs.samples import Sample
from dashboard.vendor import Vendor

CODE, STRONG = re.compile(r"`([^`]+)`"), re.compile(r"\*\*([^*]+)\*\*")
SECTIONS = {
    "connect": "Connect",
    "rules": "The rules",
    "requests": "Requests",
    "streams": "Streams",
    "messages": "Messages",
    "codes": "Codes",
    "limits": "Limits",
    "samples": "Samples",
}
REFERENCE = re.compile(r"#/components/schemas/(\w+)")
# Under a list "at most" counts members; that a list is not empty goes without saying.
BOUNDS = {"exclusiveMinimum": "above {}", "minimum": "from {}", "maximum": "to {}", "maxItems": "at most {}"}


def stream_page(document: Json, samples: Sequence[Sample], vendor: Vendor) -> str:
    """Return the page."""
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    info = document["info"]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="dark light">
<title>The live stream · Alhambra</title>
<link rel="icon" type="image/svg+xml" href="{vendor.own("star.svg")}">
<link rel="preload" as="font" type="font/woff2" crossorigin href="{vendor.url("inter-latin.woff2")}">
<link rel="stylesheet" href="{vendor.url("fonts.css")}">
<link rel="stylesheet" href="{vendor.own("app.css")}">
<link rel="stylesheet" href="{vendor.own("docs.css")}">
</head>
<body class="docs">
<header><a class="brand" href="/"><i class="star"></i>Alhambra</a><span class="where">The live stream</span></header>
<div class="sheet">
<nav aria-label="On this page">{links}</nav>
<main>
<h1>The live stream</h1>
<p class="lead">For people who write a client. Version {escape(info["version"])}; as a machine reads it:
<a href="/docs/stream.json">AsyncAPI {escape(document["asyncapi"])}</a>.</p>
{section("connect", connect(document))}
{section("rules", paragraphs(info["description"]))}
{section("requests", requests(document))}
{section("streams", streams(document))}
{section("messages", messages(document))}
{section("codes", codes(document["x-codes"]))}
{section("limits", limits(document["x-limits"]))}
{section("samples", "".join(sample(one, origin(document)) for one in samples))}
</main>
</div>
</body>
</html>
"""


def section(name: str, inner: str) -> str:
    """Return a part of the page under its heading."""
    return f'<section id="{name}"><h2>{SECTIONS[name]}</h2>\n{inner}</section>'


def connect(document: Json) -> str:
    """Return where the stream is found and what the first words are, on either transport."""
    raw, channels = document["servers"]["websocket"], document["channels"]
    address = f"{raw['protocol']}://{raw['host']}{channels['websocket']['address']}"
    return f"""<div class="pair">
<article class="panel"><h3>Raw WebSocket</h3><p class="address"><code>{escape(address)}</code></p>
<p>Each message is one JSON object in a text frame and names itself in <code>type</code>. The first one says who you
are; until it is answered with <code>authenticated</code>, nothing else is.</p>
{block('{"type":"auth","id":1,"token":"…"}')}</article>
<article class="panel"><h3>Socket.IO</h3><p class="address"><code>{escape(origin(document))}</code>, namespace
<code>{escape(channels["socketio"]["address"])}</code></p>
<p>The name of a message is the event, an answer is the acknowledgement, neither has a <code>type</code>. Who you are is
said in <code>auth</code>; a refusal is a <code>connect_error</code> with <code>code</code>, <code>name</code> and
<code>message</code> in its <code>data</code>. Only the transport <code>websocket</code>.</p>
{block('io(origin + "/live", { transports: ["websocket"], auth: { token } })')}</article>
</div>
<p>The token is the one that <code>POST /api/auth/login</code> gives. A guest says <code>guest: true</code> instead and
may follow <code>demo</code>. Send <code>auth</code> with a new token before the old one expires: the streams go on
untouched. A browser's page of another origin is refused.</p>
"""


def requests(document: Json) -> str:
    """Return each request with its answer."""
    operations = document["operations"]
    asked = [name for name, one in operations.items() if name.startswith("websocket-") and "reply" in one]
    found = []
    for name in asked:
        request = message(document, name.removeprefix("websocket-"))
        answer = message(document, operations[name]["reply"]["messages"][0]["$ref"].rpartition("/")[2])
        found.append(
            f'<h3 id="{request["name"]}"><code>{request["name"]}</code> → <code>{answer["name"]}</code></h3>'
            f"<p>{prose(request['summary'])}</p>{fields(request['payload'], skip=('type',))}"
            f"{example(request)}<p>Answered: {prose(answer['summary'])}</p>"
            f"{fields(answer['payload'], skip=('type', 'id', 'server_ns'))}{example(answer)}"
        )
    refused = message(document, "error")
    inner = "".join(found)
    parts = "".join(definition(document, name) for name in ("StreamRequest", "Fields", "View", "Order", "Condition"))
    return f"""<p>Every request carries an <code>id</code> of yours, a number or a text of up to 64 characters; the
answer carries it too, and the server's clock, <code>server_ns</code>.</p>
{inner}
<h3 id="error">Refused → <code>error</code></h3><p>{prose(refused["summary"])}</p>{example(refused)}
{parts}{definition(document, "Followed")}"""


def streams(document: Json) -> str:
    """Return the streams there are, and the fields of each."""
    kinds = document["x-streams"]
    rows = [(f"<code>{escape(one['stream'])}</code>", prose(one["what"]), escape(one["who"])) for one in kinds]
    described = "".join(
        f'<h3 id="{one["type"]}"><code>{escape(one["stream"])}</code></h3>' + held(document, one) for one in kinds
    )
    return table(("stream", "what", "who may follow it"), rows, "even") + described


def held(document: Json, kind: Mapping[str, Any]) -> str:
    """Return the totals and the rows of a kind of stream, and the types that these contain."""
    schemas = document["components"]["schemas"]
    totals, row = schemas.get(f"{kind['type']}Totals"), schemas.get(f"{kind['type']}Row")
    if totals is None:
        return f"<p>{prose(kind['what'])}</p>"
    rows = "" if row is None else f"<h4>rows, by <code>{kind['key']}</code></h4>{fields(row)}"
    inner = "".join(definition(document, name) for name in sorted(set(REFERENCE.findall(json.dumps(totals)))))
    return f"<h4>totals</h4>{fields(totals)}{rows}{inner}"


def messages(document: Json) -> str:
    """Return what comes unasked: one snapshot and one delta stand for those of every kind of stream."""
    sent = document["operations"]["websocket-updates"]["messages"]
    found, seen = [], set[str]()
    for reference in sent:
        one = message(document, reference["$ref"].rpartition("/")[2])
        if one["name"] in seen:
            continue
        seen.add(one["name"])
        found.append(
            f'<h3 id="{one["name"]}"><code>{one["name"]}</code></h3><p>{prose(one["summary"])}</p>'
            f"{fields(one['payload'], skip=('type',))}{example(one)}"
        )
    told = "<p>A snapshot and a delta are shown as they are for a portfolio; they differ in their totals and rows.</p>"
    return told + "".join(found) + definition(document, "Position") + definition(document, "Alert")


def codes(found: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of codes."""
    rows = [
        (str(one["code"]), f"<code>{one['name']}</code>", "yes" if one["retry"] else "no", prose(one["when"]))
        for one in found
    ]
    return table(("code", "name", "try again", "when"), rows, "codes")


def limits(found: Iterable[Mapping[str, str]]) -> str:
    """Return the table of limits."""
    rows = [(prose(one["limit"]), escape(one["value"]), prose(one["beyond"])) for one in found]
    return table(("what", "limit", "beyond it"), rows, "even")


def sample(one: Sample, server: str) -> str:
    """Return a program that works as it stands, and how it is run."""
    return (
        f"<details><summary>{escape(one.title)}</summary><p>{prose(one.needs)}, then "
        f"<code>{escape(one.command(server))}</code></p>{block(one.text)}</details>\n"
    )


def origin(document: Json) -> str:
    """Return where the server is reached by HTTP."""
    server = document["servers"]["socketio"]
    return f"{server['protocol'].replace('ws', 'http', 1)}://{server['host']}"


def definition(document: Json, name: str) -> str:
    """Return a type that messages contain."""
    schema = document["components"]["schemas"][name]
    return f'<h4 id="{name}">{name}</h4><p>{prose(schema["description"])}</p>{fields(schema)}'


def fields(schema: Json, skip: Sequence[str] = ()) -> str:
    """Return the table of an object's fields; nothing where there are none."""
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{name}</code>" + ("" if name in required or not required else " <i>optional</i>"),
            f"{type_name(one)}{beside(one)}",
            prose(one.get("description", "")),
        )
        for name, one in schema["properties"].items()
        if name not in skip
    ]
    return table(("field", "type", "what"), rows) if rows else ""


def beside(schema: Json) -> str:
    """Return what stands under the type of a field: its unit, its bounds, what it is unless told."""
    found = [str(schema["x-unit"])] if "x-unit" in schema else []
    found += [text.format(schema[name]) for name, text in BOUNDS.items() if name in schema]
    if schema.get("default") not in (None, [], {}, False):
        found.append(f"else {json.dumps(schema['default'])}")
    return f'<span class="unit">{escape(", ".join(found))}</span>' if found else ""


def type_name(schema: Json) -> str:
    """Return the type of a field as people say it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{anchor(name)}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(type_name(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        items = schema["items"]
        return (
            "[" + ", ".join(map(type_name, items)) + "]" if isinstance(items, list) else f"list of {type_name(items)}"
        )
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"object of {type_name(inner)}" if isinstance(inner, dict) else "object"
    plain = str(schema.get("type", "any"))
    return {"string": "text", "boolean": "true or false"}.get(plain, plain)


def anchor(name: str) -> str:
    """Return where on the page a type is described: totals and rows stand with their stream."""
    return name.removesuffix("Totals").removesuffix("Row")


def message(document: Json, key: str) -> Json:
    """Return a message as the raw WebSocket carries it."""
    found: Json = document["components"]["messages"][f"websocket-{key}"]
    return found


def example(described: Json) -> str:
    """Return the example of a message; nothing where it has none."""
    return "".join(block(compact(one["payload"]), "json") for one in described.get("examples", ()))


def compact(payload: Any) -> str:
    """Return JSON that breaks its lines only between the members of the outermost object, and its rows."""
    members = [f"  {json.dumps(name)}: {member(value)}" for name, value in payload.items()]
    return "{\n" + ",\n".join(members) + "\n}"


def member(value: Any) -> str:
    """Return a member's value on one line, or one line an object where it is a list of objects."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"    {json.dumps(one, ensure_ascii=False)}" for one in value) + "\n  ]"
    return json.dumps(value, ensure_ascii=False)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "fields") -> str:
    """Return a table; its cells are HTML. On a narrow screen each row becomes a block."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<table class="{kind}"><thead><tr>{names}</tr></thead>\n<tbody>{body}</tbody></table>\n'


def paragraphs(text: str) -> str:
    """Return a text whose paragraphs are parted by empty lines."""
    return "".join(f"<p>{prose(one)}</p>\n" for one in text.split("\n\n"))


def prose(text: str) -> str:
    """Return a text as HTML: what stands in backticks is code, and what stands in double asterisks strong."""
    return STRONG.sub(r"<strong>\1</strong>", CODE.sub(r"<code>\1</code>", escape(text, quote=False)))


def block(text: str, kind: str = "code") -> str:
    """Return code as it stands; JSON breaks its lines where there is no room."""
    return f'<pre class="{kind}" tabindex="0"><code>{escape(text.rstrip(), quote=False)}</code></pre>\n'
