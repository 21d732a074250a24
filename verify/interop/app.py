"""A Flask application as there are many: Flask-Login, Flask-WTF, flash messages. It listens on a free port of loopback
and prints that port."""

import importlib.metadata
import os
import sys
import uuid
from datetime import datetime

from flask import Flask, flash, get_flashed_messages, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_wtf.csrf import CSRFProtect, generate_csrf
from markupsafe import Markup
from werkzeug.serving import make_server

app = Flask("interop")
app.config.update(SECRET_KEY=os.environ["SECRET_KEY"], SESSION_COOKIE_SAMESITE="Lax", WTF_CSRF_CHECK_DEFAULT=False)
login_manager = LoginManager(app)
csrf = CSRFProtect(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


class Numbered(User):
    def get_id(self):
        return self.id


login_manager.user_loader(lambda id: Numbered(id) if isinstance(id, (int, uuid.UUID)) else User(id))


@app.get("/flask/me")
def me():
    return jsonify(
        user=current_user.get_id() if current_user.is_authenticated else None,
        fresh=session.get("_fresh"),
        permanent=session.permanent,
        flashes=get_flashed_messages(with_categories=True),
        values={k: repr(v) for k, v in session.items() if not k.startswith("_") and k != "csrf_token"},
    )


@app.post("/flask/login")
def login():
    match request.form.get("type"):
        case "int":
            user = Numbered(int(request.form["username"]))
        case "uuid":
            user = Numbered(uuid.UUID(request.form["username"]))
        case _:
            user = User(request.form["username"])
    login_user(user, remember="stay" in request.form)
    session.permanent = "remember" in request.form
    flash("Welcome, " + request.form["username"] + "!", "greeting")
    return "ok"


@app.post("/flask/logout")
@login_required
def logout():
    logout_user()
    return "ok"


@app.post("/flask/set")
def set_value():
    session[request.form["key"]] = request.form["value"]
    return "ok"


@app.post("/flask/odd")
def odd():
    """Values that Flask can hold and Go can't, and flash messages that are no text."""
    session["year"], session["half"] = datetime(50, 1, 1), "\ud83d"
    flash({"name": ["This field is required."]})
    flash(404, 5)
    flash(Markup("<b>x</b>"))
    return "ok"


@app.get("/flask/odd")
def is_odd():
    kept = session.get("half") == "\ud83d" and "year" in session
    return jsonify(kept=kept, flashes=[repr(f) for f in session.get("_flashes", [])])


@app.get("/flask/user")
def user():
    return jsonify(type=type(session.get("_user_id")).__name__, id=str(session.get("_user_id")))


@app.get("/flask/versions")
def versions():
    return jsonify({name: importlib.metadata.version(name) for name in request.args.getlist("of")})


@app.get("/flask/token")
def token():
    return generate_csrf()


@app.post("/flask/form")
def form():
    csrf.protect()
    return "ok"


@app.post("/flask/rotate")
def rotate():
    app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY"]]
    app.config["SECRET_KEY"] = request.form["key"]
    return "ok"


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
