"""examples/login as a Flask application writes it: the same pages, with Flask's session."""

import os
from datetime import datetime, timezone

from flask import Flask, flash, redirect, render_template, request, session

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.get("/")
def home():
    if "name" not in session:
        return render_template("home.html")
    session["visits"] = session.get("visits", 0) + 1
    return render_template(
        "home.html", name=session["name"], visits=session["visits"], label=session["label"], since=session["since"], seen=now()
    )


@app.post("/login")
def login():
    session.clear()
    session["name"] = request.form["username"]
    session["label"] = "Firefox on Linux"
    session["since"] = now()
    flash("Welcome, " + session["name"] + "!")
    return redirect("/", 303)
