"""The README's program as a Flask application writes it, with Flask-Session and its sessions in Redis."""

import os

from flask import Flask, redirect, request, session
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config["SESSION_TYPE"] = "redis"
app.config["SESSION_REDIS"] = Redis.from_url(os.environ["REDIS_URL"])
Session(app)


@app.get("/")
def home():
    if "name" not in session:
        return "You are not logged in\n", {"Content-Type": "text/plain; charset=utf-8"}
    session["visits"] = session.get("visits", 0) + 1
    text = f"Logged in as {session['name']}, {session['visits']} visits\n"
    return text, {"Content-Type": "text/plain; charset=utf-8"}


@app.post("/login")
def login():
    session["name"] = request.form["username"]
    app.session_interface.regenerate(session)
    return redirect("/", 303)
