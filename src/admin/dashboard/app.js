// The page: signs in, listens, and shows what it hears. What it looks like is in views.js.
//
// The status comes by server-sent events once a second, read with fetch, since an
// EventSource cannot send the admin token. History and routes are asked for now and then.

import { morph } from "./dom.js";
import * as views from "./views.js";

const RETRY_MS = 2_000;
const HISTORY_MS = 15_000;

const at = (id) => document.getElementById(id);
const state = { token: sessionStorage.getItem("weir-admin-token"), upstream: null, status: null, history: [], routes: null };

/** Asks the API; an error has the status. */
async function ask(path, options = {}) {
  const headers = { ...(state.token ? { Authorization: `Bearer ${state.token}` } : {}), ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer;
}

/** Shows what is known of the chosen upstream. */
function show() {
  const { status } = state;
  if (!status) return;
  const names = status.upstreams.map((upstream) => upstream.name);
  if (!names.includes(state.upstream)) state.upstream = names[0] ?? null;
  const upstream = status.upstreams.find((one) => one.name === state.upstream);
  morph(at("upstreams"), views.choices(status.upstreams, state.upstream));
  morph(at("alarms"), views.alarms(status));
  at("version").textContent = `weir ${status.version}`;
  at("figures").hidden = !upstream;
  if (!upstream) return;
  const minutes = state.history.find((one) => one.upstream === upstream.name)?.minutes ?? [];
  const span = document.querySelector("input[name=span]:checked").value;
  const now = Date.parse(status.at) / 1_000;
  morph(at("limits"), views.limits(upstream));
  morph(at("forecast"), views.forecast(upstream, minutes, now));
  morph(at("day"), views.day(upstream, minutes, now));
  morph(at("requests"), views.requests(minutes, span, now));
  morph(at("tree"), views.tree(upstream));
  morph(at("routes"), views.routes(state.routes, upstream.name));
  morph(at("saved"), views.saved(upstream, status.cache));
  morph(at("vendor"), views.vendor(upstream));
  morph(at("keys"), views.keys(upstream));
  morph(at("refusals"), views.refusals(upstream));
}

function say(text, isLost = false) {
  const line = at("state");
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("lost", isLost);
}

/** Reads `data:` lines of one stream until it ends. */
async function listen() {
  const answer = await ask("/api/v1/events", { headers: { Accept: "text/event-stream" } });
  signedIn();
  say("live");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (!data.trim()) continue;
      state.status = JSON.parse(data);
      show();
    }
  }
}

/** What changes slowly: the minutes of the last day, and today's routes. */
async function look() {
  const [history, routes] = await Promise.all([
    ask("/api/v1/history").then((answer) => answer.json()),
    ask("/api/v1/usage?by=upstream,route&since=0d").then((answer) => answer.json()),
  ]);
  Object.assign(state, { history, routes });
  show();
}

function signedIn() {
  at("sign-in").hidden = true;
  at("sign-in-error").textContent = "";
}

/** The token is missing or wrong: nothing is shown until it is right. */
function signIn() {
  const wasTried = state.token !== null;
  sessionStorage.removeItem("weir-admin-token");
  Object.assign(state, { token: null, status: null });
  at("figures").hidden = true;
  morph(at("alarms"), []);
  at("sign-in").hidden = false;
  at("sign-in-error").textContent = wasTried ? "That is not this weir's admin token." : "";
  say("signed out");
  at("token").focus();
}

const pause = (ms) => new Promise((over) => setTimeout(over, ms));
let isSignedOut = false;

async function run() {
  for (;;) {
    try {
      await listen();
      say("weir has stopped; trying again …", true);
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        isSignedOut = true;
        signIn();
        return;
      }
      say("connection lost; what is shown is old; trying again …", true);
    }
    await pause(RETRY_MS);
  }
}

async function watch() {
  while (!isSignedOut) {
    // The stream says what is wrong; here it is enough to try again.
    await look().catch(() => {});
    await pause(state.history.length ? HISTORY_MS : RETRY_MS);
  }
}

function begin() {
  isSignedOut = false;
  run();
  watch();
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = at("token").value;
  at("token").value = "";
  sessionStorage.setItem("weir-admin-token", state.token);
  begin();
});
at("upstreams").addEventListener("click", (event) => {
  const name = event.target.closest("button")?.dataset.name;
  if (name) {
    state.upstream = name;
    show();
  }
});
at("span").addEventListener("change", show);
// Pictures are drawn for the width that there is.
matchMedia("(max-width: 719px)").addEventListener("change", () => state.status && show());
begin();
