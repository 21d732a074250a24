"""The README's program as a Django application writes it, with its sessions in Redis by Django's cache."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}},
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SECRET_KEY"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)


def home(request):
    session = request.session
    if "name" not in session:
        return HttpResponse("You are not logged in\n", content_type="text/plain")
    session["visits"] = session.get("visits", 0) + 1
    text = f"Logged in as {session['name']}, {session['visits']} visits\n"
    return HttpResponse(text, content_type="text/plain")


def login(request):
    request.session.cycle_key()
    request.session["name"] = request.POST["username"]
    response = HttpResponseRedirect("/")
    response.status_code = 303
    return response


urlpatterns = [path("", home), path("login", login)]
app = get_wsgi_application()
