"""examples/login as a Flask application writes it: the same pages, with Flask's session."""

import os
from datetime import datetime, timezone

from flask import Flask, flash, redirect, render_template_string, request, session

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Home · Hipflask</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><a href="/">Hipflask</a> <span>the login example</span></header>
<main>
{% for message in get_flashed_messages() %}<p class="flash" role="status">{{ message }}</p>
{% endfor %}
{% if name %}<section class="card">
<h1>Logged in as <strong>{{ name }}</strong></h1>
<p>You have been here {% if visits == 1 %}once{% else %}{{ visits }} times{% endif %}.</p>
<form method="post" action="/logout"><button class="main">Log out</button></form>
</section>
<section class="card">
<h2>Your sessions</h2>
<ul class="sessions">
<li>
<div><b>{{ label }}</b> <span class="here">this one</span>
<small>since <time datetime="{{ since }}">{{ since }}</time> · last seen <time datetime="{{ seen }}">{{ seen }}</time> UTC</small></div>
<form method="post" action="/sessions/end"><button aria-label="End the session {{ label }} (this one)">End</button></form>
</li>
</ul>
</section>
{% else %}<section class="card">
<h1>You are not logged in</h1>
<p>Any name will do.</p>
<p><a class="button main" href="/login">Log in</a></p>
</section>
{% endif %}</main>
<footer>The session is kept in the cookie, which is signed.</footer>
</body>
</html>
"""


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.get("/")
def home():
    if "name" not in session:
        return render_template_string(PAGE)
    session["visits"] = session.get("visits", 0) + 1
    return render_template_string(
        PAGE, name=session["name"], visits=session["visits"], label=session["label"], since=session["since"], seen=now()
    )


@app.post("/login")
def login():
    session.clear()
    session["name"] = request.form["username"]
    session["label"] = "Firefox on Linux"
    session["since"] = now()
    flash("Welcome, " + session["name"] + "!")
    return redirect("/", 303)
