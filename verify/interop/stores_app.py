"""Flask applications with Flask-Session, one for each configuration in the JSON list on the command line, in one process.
It prints the port of each."""

import json
import sys
import threading
import warnings
from collections import OrderedDict, defaultdict
from datetime import time, timedelta
from http import HTTPStatus

warnings.simplefilter("ignore", DeprecationWarning)

from cachelib.file import FileSystemCache
from flask import Flask, current_app, flash, get_flashed_messages, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy
from pymemcache.client.base import PooledClient
from redis import Redis
from werkzeug.serving import make_server


class User(UserMixin):
    def __init__(self, id):
        self.id = id


def configure(app, backend, address):
    match backend:
        case "redis":
            app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(address))
        case "memcached":
            host, port = address.split(":")
            # By default pymemcache waits for no answer: the next request may find what was there before.
            app.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=PooledClient((host, int(port)), default_noreply=False))
        case "sqlalchemy":
            app.config.update(SESSION_TYPE="sqlalchemy", SQLALCHEMY_DATABASE_URI=address)
            app.config["SESSION_SQLALCHEMY"] = SQLAlchemy(app)
        case "airflow":  # airflow/www/extensions/init_session.py, of Airflow 2, with Flask-Session 0.5
            app.config.update(SESSION_TYPE="sqlalchemy", SQLALCHEMY_DATABASE_URI=address, SESSION_SQLALCHEMY_TABLE="session")
            app.config.update(SESSION_KEY_PREFIX="", SESSION_USE_SIGNER=True)
            app.config["SESSION_SQLALCHEMY"] = SQLAlchemy(app)
        case "cachelib":
            app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(cache_dir=address, threshold=500))
        case "filesystem":
            app.config.update(SESSION_TYPE="filesystem", SESSION_FILE_DIR=address)


def make_app(backend, address, config):
    app = Flask("interop")
    app.config.update(SECRET_KEY="a-key", SESSION_COOKIE_SAMESITE="Lax", **config)
    if "PERMANENT_SESSION_LIFETIME" in config:
        app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=config["PERMANENT_SESSION_LIFETIME"])
    configure(app, backend, address)
    Session(app)
    if backend == "airflow":
        with app.app_context():
            app.config["SESSION_SQLALCHEMY"].create_all()
    LoginManager(app).user_loader(User)
    held, released = threading.Event(), threading.Event()

    def me():
        return jsonify(
            user=current_user.get_id() if current_user.is_authenticated else None,
            fresh=session.get("_fresh"),
            permanent=session.permanent,
            flashes=get_flashed_messages(with_categories=True),
            values={k: repr(v) for k, v in session.items() if not k.startswith("_")},
        )

    def login():
        login_user(User(request.form["username"]))
        if "remember" in request.form:
            session.permanent = True
        flash("Welcome, " + request.form["username"] + "!", "greeting")
        return "ok"

    def logout():
        logout_user()
        return "ok"

    def clear():
        session.clear()
        return "ok"

    def set_value():
        session[request.form["key"]] = request.form["value"]
        return "ok"

    def regenerate():
        current_app.session_interface.regenerate(session)
        return "ok"

    def types():
        session["int"], session["float"], session["bytes"] = 2**53 + 1, 2.0, b"\0\xff"
        return "ok"

    def objects():
        session["od"], session["dd"] = OrderedDict(a=1), defaultdict(list, a=[1])
        session["enum"], session["time"] = HTTPStatus.NOT_FOUND, time(1, 2, 3)
        return "ok"

    def hold():
        """Reads the session, waits for release, and perhaps changes it."""
        held.set()
        released.wait(20)
        released.clear()
        if "key" in request.args:
            session[request.args["key"]] = "held"
        return "ok"

    def wait():
        held.wait(20)
        held.clear()
        return "ok"

    def release():
        released.set()
        return "ok"

    for rule in [me, login, logout, clear, set_value, regenerate, types, objects, hold, wait, release]:
        app.add_url_rule("/flask/" + rule.__name__.removesuffix("_value"), view_func=rule, methods=["GET", "POST"])
    return app


servers = [make_server("127.0.0.1", 0, make_app(*c), threaded=True) for c in json.loads(sys.argv[1])]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps([server.server_port for server in servers]), flush=True)
sys.stdin.read()
