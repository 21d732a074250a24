"""Answers a line of JSON for a line of JSON, with the real Flask's session serializer.

{"op": "read", "cookie": ...}   -> {"text": tagged JSON of what Flask read, or null}
{"op": "make", "seed": ...}     -> {"cookie": ..., "text": tagged JSON of a random session}
"""

import datetime
import json
import math
import random
import sys
import uuid

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from markupsafe import Markup

app = Flask("interop")
app.secret_key = sys.argv[1]
serializer = SecureCookieSessionInterface().get_signing_serializer(app)
tagged = serializer.serializer
app.app_context().push()  # with the application's JSON provider, as in a request

ALPHABETS = ["abc XYZ09", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "äéßøπжあ漢€", "\U0001f600\U0001f36a\U00010000\U0010ffff", " <>&'"]
KEYS = [" t", " b", " m", " u", " d", " di", " t__", " x", "", "a", "_permanent", "_flashes"]


def text(r):
    return "".join(r.choice(r.choice(ALPHABETS)) for _ in range(r.choice([0, 1, 3, 10, 60])))


def number(r):
    return r.choice(
        [
            lambda: r.randint(-10, 10),
            lambda: r.choice([2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**70), 10**40]),
            lambda: r.uniform(-1000, 1000),
            lambda: float(r.randint(-100, 100)),
            lambda: r.choice([1e15, 1e16, 1e17, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, -0.0, 0.1, 1 / 3]),
            lambda: math.ldexp(r.random(), r.randint(-1070, 1020)),
            lambda: r.choice([math.inf, -math.inf]),
        ]
    )()


def value(r, depth):
    kinds = ["none", "bool", "number", "number", "text", "text", "bytes", "markup", "uuid", "time"]
    if depth > 0:
        kinds += ["list", "tuple", "dict", "dict", "single"]
    match r.choice(kinds):
        case "none":
            return None
        case "bool":
            return r.random() < 0.5
        case "number":
            return number(r)
        case "text":
            return text(r)
        case "bytes":
            return r.randbytes(r.choice([0, 1, 2, 3, 30]))
        case "markup":
            return Markup(text(r))
        case "uuid":
            return uuid.UUID(int=r.getrandbits(128))
        case "time":
            start = datetime.datetime(100, 1, 1, tzinfo=datetime.timezone.utc)
            return start + datetime.timedelta(seconds=r.randint(0, 300_000_000_000))
        case "list":
            return [value(r, depth - 1) for _ in range(r.randint(0, 4))]
        case "tuple":
            return tuple(value(r, depth - 1) for _ in range(r.randint(0, 4)))
        case "dict":
            return {r.choice([text(r), r.choice(KEYS)]): value(r, depth - 1) for _ in range(r.randint(0, 4))}
        case "single":
            return {r.choice(KEYS): value(r, depth - 1)}


def session(seed):
    r = random.Random(seed)
    return {r.choice([text(r), r.choice(KEYS)]): value(r, 3) for _ in range(r.randint(1, 5))}


for line in sys.stdin:
    request = json.loads(line)
    answer = {}
    if request["op"] == "read":
        try:
            answer["text"] = tagged.dumps(dict(serializer.loads(request["cookie"], max_age=3600)))
        except BadSignature:
            answer["text"] = None
    else:
        made = session(request["seed"])
        answer["cookie"] = serializer.dumps(made)
        answer["text"] = tagged.dumps(made)
    print(json.dumps(answer), flush=True)
