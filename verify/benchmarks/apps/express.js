// The README's program as an Express application writes it, with express-session and its sessions in Redis.
"use strict";

const cluster = require("node:cluster");
const os = require("node:os");
const express = require("express");
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");

async function serve() {
  const client = createClient({ url: process.env.REDIS_URL });
  await client.connect();
  const app = express();
  app.use(
    session({
      secret: process.env.SECRET_KEY,
      store: new RedisStore({ client }),
      resave: false,
      saveUninitialized: false,
    })
  );
  app.get("/", (req, res) => {
    res.type("text/plain");
    if (!req.session.name) {
      res.send("You are not logged in\n");
      return;
    }
    req.session.visits = (req.session.visits || 0) + 1;
    res.send(`Logged in as ${req.session.name}, ${req.session.visits} visits\n`);
  });
  app.post("/login", express.urlencoded(), (req, res, next) => {
    req.session.regenerate((err) => {
      if (err) return next(err);
      req.session.name = req.body.username;
      // As its README says: otherwise the browser may follow the redirect before the session is stored.
      req.session.save((err) => (err ? next(err) : res.redirect(303, "/")));
    });
  });
  const [host, port] = process.argv[2].split(":");
  app.listen(port, host);
}

// One process for each processor, as gunicorn has them.
if (cluster.isPrimary) {
  os.cpus().forEach(() => cluster.fork());
} else {
  serve();
}
