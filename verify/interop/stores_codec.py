"""Makes and judges documents of Flask-Session's formats with msgspec and pickle. A line of JSON in, a line of JSON out;
documents are base64.

{"op": "make", "form": F, "seed": S, "n": N}                 -> {"docs": [...]}   random sessions
{"op": "judge", "form": F, "to": G, "seed": S, "docs": [...]} -> {"bad": null}     docs are those sessions, in form G, or null
{"op": "mutate", "form": F, "seed": S, "n": N}               -> {"docs": [...]}   the same, with bytes changed
{"op": "compare", "form": F, "docs": [...], "read": [...]}    -> {"bad": null}     what Go made of docs; null: refused
{"op": "again", "form": F, "seed": S, "docs": [...]}          -> {"docs": [...]}   read and written anew
"""

import base64
import codecs
import datetime
import decimal
import io
import json
import math
import pickle
import random
import resource
import struct
import sys
import uuid

import msgspec
from markupsafe import Markup

UTC = datetime.timezone.utc
ALPHABETS = ["abc XYZ09", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "äéßøπжあ漢€", "\U0001f600\U0001f36a\U00010000\U0010ffff", " <>&'{}"]


def text(r):
    return "".join(r.choice(r.choice(ALPHABETS)) for _ in range(r.choice([0, 1, 3, 10, 31, 32, 300])))


def integer(r, form):
    edges = [2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**53, 2**63 - 1]
    n = r.choice([r.randint(-40, 140), r.choice(edges) + r.randint(-1, 0), -r.choice(edges) - r.randint(-1, 1), r.getrandbits(63)])
    if form == "msgpack" and r.random() < 0.1:
        return 2**64 - r.choice([1, 2, 2**62])
    if form != "msgpack" and r.random() < 0.1:
        return r.choice([1, -1]) * r.getrandbits(r.choice([64, 65, 100, 400, 2100]))
    return max(n, -(2**63))


def number(r, form):
    plain = [r.uniform(-1000, 1000), float(r.randint(-100, 100)), math.ldexp(r.random(), r.randint(-1070, 1020)), -0.0, 1 / 3]
    plain += [r.choice([1e15, 1e16, 1e17, 1e21, 1e22, 1e-4, 1e-5, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308, 123456789012345680.0])]
    if form != "json":
        plain += [math.inf, -math.inf, math.nan]
    return r.choice(plain)


def moment(r):
    start = datetime.datetime(1, 1, 1)
    if r.random() < 0.7:
        start = datetime.datetime(r.choice([1900, 1970, 2000, 2106, 2500]), 1, 1)
        t = start + datetime.timedelta(seconds=r.randint(0, 10**9))
    else:
        t = start + datetime.timedelta(days=r.randint(1, 3_652_000))
    return t.replace(microsecond=r.choice([0, 0, 1, 999_999, r.randint(0, 999_999)]))


def hashable(r, form):
    kinds = [None, True, integer(r, form), text(r), float(r.randint(0, 9))]
    if form == "pickle":
        kinds += [r.randbytes(2), (1, text(r)), moment(r), uuid.UUID(int=r.getrandbits(128))]
    return r.choice(kinds)


def value(r, depth, form, seen):
    kinds = ["none", "bool", "int", "int", "float", "text", "text", "bytes", "aware", "naive", "uuid", "decimal", "date"]
    if form == "pickle":
        kinds += ["markup", "bytearray", "set", "frozenset", "again", "offset", "timedelta"]
    if depth > 0:
        kinds += ["list", "tuple", "dict", "dict", "numbers", "set"]
    match r.choice(kinds):
        case "none":
            return None
        case "bool":
            return r.random() < 0.5
        case "int":
            return integer(r, form)
        case "float":
            return number(r, form)
        case "text":
            v = text(r)
        case "bytes":
            v = r.randbytes(r.choice([0, 1, 2, 3, 30, 300]))
        case "aware":
            return moment(r).replace(tzinfo=UTC)
        case "offset":
            t = moment(r)
            return t.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=r.randint(-1439, 1439))))
        case "naive":
            return moment(r)
        case "uuid":
            return uuid.UUID(int=r.getrandbits(r.choice([1, 60, 64, 128])))
        case "decimal":
            return decimal.Decimal(r.randint(-(10**6), 10**6)).scaleb(-r.randint(0, 4))
        case "date":
            return moment(r).date()
        case "timedelta":
            return datetime.timedelta(days=r.randint(-9, 9), seconds=r.randint(0, 9**5), microseconds=r.randint(0, 9))
        case "markup":
            return Markup(text(r))
        case "bytearray":
            v = bytearray(r.randbytes(3))
        case "set":
            v = {hashable(r, form) for _ in range(r.randint(0, 1 if form != "pickle" else 3))}
        case "frozenset":
            v = frozenset(hashable(r, form) for _ in range(r.randint(0, 3)))
        case "again":
            return r.choice(seen) if seen else None
        case "list":
            v = [value(r, depth - 1, form, seen) for _ in range(r.choice([0, 1, 2, 3, 17]))]
        case "tuple":
            v = tuple(value(r, depth - 1, form, seen) for _ in range(r.randint(0, 4)))
        case "dict":
            v = {text(r): value(r, depth - 1, form, seen) for _ in range(r.choice([0, 1, 3, 17]))}
        case "numbers":
            v = {r.randint(-9, 9) if form == "json" else hashable(r, form): value(r, depth - 1, form, seen) for _ in range(r.randint(1, 3))}
    seen.append(v)
    return v


def session(seed, form):
    r = random.Random(f"{form} {seed}")
    seen = []
    return r, {r.choice([text(r), "user", "_flashes"]): value(r, 2, form, seen) for _ in range(r.randint(0, 6))}


def encode(r, form, v):
    if form == "msgpack":
        return msgspec.msgpack.encode(v)
    if form == "json":
        return msgspec.json.encode(v)
    return pickle.dumps(v, protocol=r.choice([2, 3, 4, 5]))


def decode(form, b):
    if form == "msgpack":
        return msgspec.msgpack.decode(b)
    if form == "json":
        return msgspec.json.decode(b)
    return pickle.loads(b)


def same(a, b, ordered=True):
    """Tells whether two values are the same, types included. Sets that became lists have no order."""
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return struct.pack("d", a) == struct.pack("d", b)
        case dict():
            return len(a) == len(b) and all(any(same(k, l) and same(a[k], b[l], ordered) for l in ([k] if k in b else b)) for k in a)
        case list() | tuple():
            if not ordered:
                return len(a) == len(b) and all(any(same(x, y, False) for y in b) for x in a)
            return len(a) == len(b) and all(map(same, a, b))
        case set() | frozenset():
            return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
        case datetime.datetime():
            return a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.utcoffset() == b.utcoffset()
        case decimal.Decimal():
            return str(a) == str(b)
    return a == b


class Names(pickle._Unpickler):
    """Reads a pickle of any bytes, and calls nothing but the classes of a session's values. (That written in C can crash on
    damaged ones.)"""

    CLASSES = {datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone, uuid.UUID, decimal.Decimal, Markup}
    CLASSES |= {set, frozenset, bytearray, bytes, codecs.encode}

    def find_class(self, module, name):
        found = super().find_class(module, name)
        if not any(found is c for c in self.CLASSES):
            raise pickle.UnpicklingError("a name")
        return found


def mutate(r, b):
    b = bytearray(b)
    for _ in range(r.choice([1, 1, 2, 5])):
        at = r.randrange(len(b) + 1)
        match r.randrange(5):
            case 0:
                b[at:at] = r.randbytes(1)
            case 1:
                del b[at : at + r.choice([1, 1, 8])]
            case 2:
                b[at : at + 1] = r.randbytes(1)
            case 3:
                b[at:at] = b[at : at + r.randint(1, 20)]
            case 4:
                b[at : at + 1] = bytes([r.choice(b"\x00\x80\xff\xc7\xd6\xdf()]}.RbutsehjqN\x81\x8a\x93\x94")])
    return bytes(b)


def compare(form, doc, read):
    try:
        value = Names(io.BytesIO(doc)).load() if form == "pickle" else decode(form, doc)
    except Exception as e:
        return read and f"Go takes what Python refuses ({e!r}): {doc!r}"
    plain = isinstance(value, dict) and all(isinstance(k, str) for k in value)
    if read is None:
        # Of pickles only the bytes that Python writes need to be read.
        return plain and form != "pickle" and f"Go refuses what Python takes: {doc!r}: {value!r}"
    got = decode(form, read)
    return not same(got, value) and f"Go made {got!r} of {value!r}: {doc!r}"


def answer(q):
    form = q["form"]
    if q["op"] == "mutate":
        r = random.Random(q["seed"])
        made = [mutate(r, encode(*shift(session(q["seed"] + i, form), form))) for i in range(q["n"])]
        return {"docs": [base64.b64encode(d).decode() for d in made]}
    if q["op"] == "compare":
        pairs = [[d and base64.b64decode(d) for d in p] for p in zip(q["docs"], q["read"])]
        return {"bad": next((bad for bad in (compare(form, *p) for p in pairs) if bad), None)}
    if q["op"] == "make":
        return {"docs": [base64.b64encode(encode(*shift(session(q["seed"] + i, form), form))).decode() for i in range(q["n"])]}
    docs = [d and base64.b64decode(d) for d in q["docs"]]
    if q["op"] == "again":
        r = random.Random(q["seed"])
        return {"docs": [base64.b64encode(encode(r, form, decode(form, d))).decode() for d in docs]}
    for i, d in enumerate(docs):
        r, made = session(q["seed"] + i, form)
        if d is None:
            continue
        try:
            want = encode(r, q["to"], decode(form, encode(r, form, made)))
        except TypeError:
            continue  # msgspec has no form for it, such as Markup; Go writes text
        got, want = decode(q["to"], d), decode(q["to"], want)
        if not same(got, want, form == q["to"]):
            return {"bad": f"seed {q['seed'] + i}: got {got!r}, want {want!r}"}
        if q["to"] != "pickle" and encode(r, q["to"], got) != d:
            return {"bad": f"seed {q['seed'] + i}: the same values, but not as msgspec writes them: {d!r}"}
    return {"bad": None}


def shift(made, form):
    return made[0], form, made[1]


# A damaged pickle can ask for any amount of memory; Python gives it. MemoryError is a refusal like others.
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as e:
        print(json.dumps({"bad": f"{type(e).__name__}: {e}"}), flush=True)
