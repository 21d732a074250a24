"""Makes the vectors of encrypted_cookie_test.go and id_test.go with an implementation that shares no code with ours:
Python's cryptography (made with version 48.0.0). Run: python3 testdata/oracle.py
"""
import base64
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

SECRET = b"xW7kq2ZsT9vBn4Lr8YdMc3Hg"
NAME = b"__Host-session"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def subkey(label):
    return hkdf(SECRET, None, b"hipflask v1 " + label)


def encrypted_cookie(created, seen, expires, principal, label, handle, public, data, salt, nonce):
    plain = struct.pack(">qqq", created, seen, expires)
    for text in (principal, label, handle, public):
        assert len(text) < 128  # one byte of uvarint
        plain += bytes([len(text)]) + text
    plain += data
    head = b"\x01" + subkey(b"encrypted cookie key id")[:4]
    key = HKDFExpand(hashes.SHA256(), 32, salt + b"hipflask v1 message").derive(subkey(b"encrypted cookie"))
    bound = head + b"session cookie " + NAME
    return base64url(head + salt + nonce + AESGCM(key).encrypt(nonce, plain, bound))


def signed_id(random):
    mac = hmac.new(subkey(b"id " + NAME), random, hashlib.sha256).digest()
    return base64url(random + mac[:16]), base64url(mac[16:])


print(encrypted_cookie(
    1700000000000, 1700000001234, 4102444800000, "änn".encode(), b"Firefox on Windows", b"abcdefghijklmnop",
    b'{"level":2}', b'{"color":"green","n":2.0}', bytes(range(16)), bytes(range(100, 112))))
print(*signed_id(bytes(range(16))))
