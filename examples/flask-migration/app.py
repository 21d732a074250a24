"""The old application: home and login. It listens on a free port of loopback and prints that port."""

import os

from flask import Flask, flash, get_flashed_messages, redirect, render_template_string, request
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.serving import make_server

app = Flask(__name__)
app.config.update(SECRET_KEY=os.environ["SECRET_KEY"], SESSION_COOKIE_SAMESITE="Lax")
login_manager = LoginManager(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


login_manager.user_loader(User)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Flask</title>
<h1>This page is Flask's</h1>
{% for message in flashes %}<p>{{ message }}</p>{% endfor %}
{% if user %}<p>Logged in as {{ user }}.</p>
<p><a href="/account">Your account</a> is Go's already.</p>
<form method="post" action="/logout"><button>Log out in Flask</button></form>
{% else %}<p>You are not logged in.</p>
<form method="post" action="/login"><input name="username" required> <button>Log in with Flask</button></form>
{% endif %}</html>"""


@app.get("/")
def home():
    user = current_user.get_id() if current_user.is_authenticated else None
    return render_template_string(PAGE, user=user, flashes=get_flashed_messages())


@app.post("/login")
def login():
    login_user(User(request.form["username"]))
    flash("Flask says welcome.")
    return redirect("/account", 303)


@app.post("/logout")
def logout():
    logout_user()
    flash("Flask says goodbye.")
    return redirect("/", 303)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
