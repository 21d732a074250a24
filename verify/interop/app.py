"""A Flask application as there are many: Flask-Login, Flask-WTF, flash messages. It listens on a free port of loopback
and prints that port."""

import os
import sys

from flask import Flask, flash, get_flashed_messages, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_wtf.csrf import CSRFProtect, generate_csrf
from werkzeug.serving import make_server

app = Flask("interop")
app.config.update(SECRET_KEY=os.environ["SECRET_KEY"], SESSION_COOKIE_SAMESITE="Lax", WTF_CSRF_CHECK_DEFAULT=False)
login_manager = LoginManager(app)
csrf = CSRFProtect(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


login_manager.user_loader(User)


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
    login_user(User(request.form["username"]))
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
