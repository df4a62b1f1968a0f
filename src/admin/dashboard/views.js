// What the page shows: each function makes elements from the API's data, and keeps nothing.

import { h } from "./dom.js";
import { plotDay, plotRequests } from "./plots.js";

const DAY = 86_400;
const number = (value) => Math.round(value).toLocaleString("en");
const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–");
const clock = (seconds) => new Date(seconds * 1_000).toISOString().slice(11, 16);

/** Seconds as people say them; number and unit stay on one line. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const say = (value, unit) => `${value}\u00a0${unit}`;
  if (seconds < 1) return say(Math.round(seconds * 1_000), "ms");
  if (seconds < 90) return say(Number(seconds.toFixed(seconds < 10 ? 1 : 0)), "s");
  if (seconds < 5_400) return say(Math.round(seconds / 60), "min");
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  if (seconds < 2 * DAY) return minutes ? `${say(hours, "h")} ${say(minutes, "min")}` : say(hours, "h");
  return say(Math.round(seconds / DAY), "days");
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1_024 && unit < units.length - 1) { count /= 1_024; unit += 1; }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}

/** A table with a caption for those who hear it. */
function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const head = columns.map((column) => h("th", { scope: "col", class: column.class }, column.title));
  return h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
}

const cell = (content, kind) => h("td", { class: kind }, content);

function bar(limit, label, isSmall) {
  const width = (part) => ({ width: `${limit.allowed ? Math.min(100, (100 * part) / limit.allowed) : 0}%` });
  const held = Math.min(limit.held, Math.max(0, limit.allowed - limit.used));
  return h("div", {
    class: `bar${isSmall ? " small" : ""}${limit.used >= limit.allowed ? " full" : ""}`,
    role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": limit.allowed, "aria-valuenow": Math.min(limit.used, limit.allowed),
    "aria-valuetext": `${limit.used} of ${limit.allowed} used, ${held} reserved`,
  }, h("i", { class: "used", style: width(limit.used) }), h("i", { class: "held", style: width(held) }));
}

/** Buttons to choose an upstream with; none if there is nothing to choose. */
export function choices(upstreams, chosen) {
  if (upstreams.length < 2) return [];
  return upstreams.map(({ name }) => h("button", { type: "button", "data-name": name, "aria-pressed": String(name === chosen) }, name));
}

/** What somebody should look at now. */
export function alarms(status) {
  const all = [];
  if (!status.store_is_up) all.push("The store cannot be written: nothing leaves for a vendor; cached answers flow on.");
  if (status.reloads.last_was_refused) all.push("The config file has mistakes and was not taken up; `weir check` names them. The one before still holds.");
  for (const { name, vendor, keys } of status.upstreams) {
    if (vendor.refused > 0) all.push(`${name}: the vendor has answered 429 ${number(vendor.refused)} times. Somebody else uses the account, or its real limit is lower.`);
    if (vendor.is_let_be) all.push(`${name}: the vendor has been failing and is not asked for some seconds.`);
    for (const key of keys) {
      for (const value of key.values) {
        if (value.is_refused) all.push(`${name}: the vendor refuses a value of key ${key.name}.`);
        else if (value.days_left !== null && value.days_left < 3) all.push(`${name}: a value of key ${key.name} expires in ${value.days_left} days.`);
      }
    }
  }
  return all.map((text) => h("p", { class: "alarm" }, text));
}

/** Every limit of the account as a bar. */
export function limits(upstream) {
  const one = (limit) => {
    const held = Math.min(limit.held, Math.max(0, limit.allowed - limit.used));
    const free = Math.max(0, limit.allowed - limit.used - held);
    const next = limit.next_release === null ? "nothing to come back"
      : limit.kind === "calendar" ? `resets in ${duration(limit.next_release)}` : `next comes back in ${duration(limit.next_release)}`;
    return h("div", { class: "limit" },
      h("div", { class: "row" }, h("b", {}, limit.name), h("span", {}, h("b", {}, number(limit.used)), ` of ${number(limit.allowed)} in ${duration(limit.window)}`)),
      bar(limit, limit.name),
      h("div", { class: "quiet" }, `${number(free)} free, ${number(held)} reserved · ${next}`));
  };
  const waiting = h("p", { class: upstream.waiting ? "warn" : "quiet" }, upstream.waiting ? `${number(upstream.waiting)} waiting for their turn` : "nobody waits");
  if (!upstream.limits.length) return [h("p", { class: "quiet" }, "This upstream has no limits."), waiting];
  return [upstream.limits.map(one), waiting, upstream.mode === "observe" ? h("p", { class: "warn" }, "observe: counted, not enforced") : null];
}

/** The limit that people mean by "the day's allowance": the longest. */
const longest = (upstream) => upstream.limits.reduce((best, limit) => (!best || limit.window > best.window ? limit : best), null);

/** Requests a second of the longest limit, by how it stood within the last hour. */
function pace(limit, minutes, now) {
  const known = minutes.filter((minute) => minute.allowance?.limit === limit.name && minute.at >= now - 3_600 && minute.allowance.used <= limit.used);
  if (!known.length) return null;
  const span = now - known[0].at;
  return span < 120 ? null : (limit.used - known[0].allowance.used) / span;
}

/** Where the day's allowance will stand at its reset. */
export function forecast(upstream, minutes, now) {
  const limit = longest(upstream);
  if (!limit) return "";
  const rate = pace(limit, minutes, now);
  const left = limit.kind === "calendar" ? limit.next_release : null;
  const so = `${number(limit.used)} of ${number(limit.allowed)} used (${limit.name})`;
  if (rate === null || left === null) return `${so}. A forecast needs some minutes of history${left === null ? " and a limit with a reset" : ""}.`;
  const end = limit.used + rate * left;
  if (end <= limit.allowed) return `${so}. At the pace of the last hour it will stand at ${number(end)} (${percent(end, limit.allowed)}) at ${clock(now + left)} UTC.`;
  const out = now + (limit.allowed - limit.used) / rate;
  return h("span", { class: "bad" }, `${so}. At the pace of the last hour it is spent at ${clock(out)} UTC, ${duration(now + left - out)} before the reset at ${clock(now + left)}.`);
}

/** The same as a curve. */
export function day(upstream, minutes, now) {
  const limit = longest(upstream);
  return limit ? plotDay(limit, minutes, pace(limit, minutes, now), now) : [];
}

/** Requests by outcome over the last hour or day. */
export function requests(minutes, span, now) {
  return plotRequests(minutes, span, now);
}

/** Divisions with their consumers. */
export function tree(upstream) {
  const tightest = (node) => {
    const limit = longest(node) && node.limits.reduce((best, one) => (!best || one.used / one.allowed > best.used / best.allowed ? one : best), null);
    return limit ? [h("span", { class: "quiet" }, `${number(limit.used)} of ${number(limit.allowed)} ${limit.name}`), bar(limit, `${node.name}, ${limit.name}`, true)] : "–";
  };
  const caps = (node) => node.limits.filter((limit) => limit.allowed < (upstream.limits.find((one) => one.name === limit.name)?.allowed ?? 0));
  const list = (all, text) => all.map(text).join(", ") || "–";
  const row = (node, kind) => h("tr", { class: kind },
    h("th", { scope: "row" }, node.name),
    cell(tightest(node)),
    cell(`${(node.share / 10_000).toFixed(node.share % 10_000 ? 1 : 0)} %`),
    cell(list(node.limits.filter((limit) => limit.held > 0), (limit) => `${limit.name} ${number(limit.held)}`), "narrow-out"),
    cell(list(caps(node), (limit) => `${limit.name} ${number(limit.allowed)}`), "narrow-out"),
    cell(number(node.waiting), node.waiting ? "warn" : null),
    cell(number(node.admitted)),
    cell(number(node.refused), node.refused ? "bad" : null));
  const rows = upstream.divisions.flatMap((division) => [
    row(division, "division"),
    ...upstream.consumers.filter((consumer) => consumer.division === division.name).map((consumer) => row(consumer, "consumer")),
  ]);
  const columns = ["division / consumer", "nearest to its limit", "share", "reserved now", "caps", "waiting", "paid", "refused"]
    .map((title, index) => ({ title, class: index === 3 || index === 4 ? "narrow-out" : null }));
  return table("Divisions and their consumers", columns, rows, "There are no consumers.");
}

/** What was paid most for today. */
export function routes(usage, upstream) {
  if (!usage) return h("p", { class: "quiet" }, "loading …");
  const rows = usage.rows.filter((row) => row.upstream === upstream).slice(0, 10)
    .map((row) => h("tr", {}, h("th", { scope: "row", class: "text" }, row.route), cell(number(row.paid)), cell(number(row.asked)), cell(percent(row.saved, row.asked))));
  const columns = [{ title: "route", class: "text" }, { title: "paid" }, { title: "asked" }, { title: "free" }];
  return table("Routes by what they cost today", columns, rows, "Nothing has been asked today.");
}

/** What the account did not have to pay. */
export function saved({ exchanges }, cache) {
  const asked = exchanges.saved + exchanges.paid + exchanges.refused + exchanges.failed;
  return [
    h("p", { class: "big" }, percent(exchanges.saved, asked)),
    h("p", { class: "quiet" }, "of what was asked since the start cost nothing"),
    facts([
      ["from the cache", number(exchanges.fresh)],
      ["stale, rather than nothing", number(exchanges.stale)],
      ["joined another's fetch", number(exchanges.joined)],
      ["paid", number(exchanges.price)],
      ["refreshed in the background", number(exchanges.refresh)],
      ["waited", `${number(exchanges.waits)}, on average ${exchanges.waits ? duration(exchanges.waited / exchanges.waits) : "–"}`],
      ["kept", `${number(cache.keys)} answers, ${bytes(cache.bytes)}`],
    ]),
  ];
}

const facts = (pairs) => h("dl", {}, pairs.map(([term, value, kind]) => [h("dt", {}, term), h("dd", { class: kind }, value)]));

/** How the vendor does. */
export function vendor({ vendor: it }) {
  const answers = it.answers.filter((answer) => answer.count > 0).map((answer) => `${answer.status} × ${number(answer.count)}`);
  return facts([
    ["asked since the start", number(it.sent)],
    ["answered 429", number(it.refused), it.refused ? "bad" : null],
    ["answers", answers.join(", ") || "–"],
    ["half within", duration(it.latency_p50)],
    ["95 % within", duration(it.latency_p95)],
    ["state", it.is_let_be ? "failing, let be" : "asked", it.is_let_be ? "bad" : null],
  ]);
}

/** Every value of every key with its days. */
export function keys(upstream) {
  const rows = upstream.keys.flatMap((key) => key.values.map((value, index) => {
    const days = value.days_left;
    const kind = days === null ? "quiet" : days < 14 ? "bad" : days < 60 ? "warn" : null;
    const state = value.is_refused ? "refused by the vendor" : value.is_in_use ? "in use" : "next";
    return h("tr", {}, h("th", { scope: "row" }, key.values.length > 1 ? `${key.name} (${index + 1})` : key.name),
      cell(state, value.is_refused ? "bad" : null), cell(days === null ? "no date given" : `${number(days)} days left`, kind));
  }));
  return table("Vendor keys", [{ title: "key" }, { title: "state" }, { title: "expires" }], rows, "This upstream has no key.");
}

/** The last answers that were a no. */
export function refusals(upstream) {
  const rows = upstream.refusals.slice(0, 20).map((one) => h("tr", {},
    h("th", { scope: "row" }, h("time", { datetime: one.at }, one.at.slice(11, 19))),
    cell(one.consumer, "text"), cell(one.route, "text"), cell(one.reason, "text"), cell(one.details || "–", "text"),
    cell(one.retry_after === null ? "–" : duration(one.retry_after))));
  const columns = [{ title: "time (UTC)" }, ...["consumer", "route", "reason", "what stopped it"].map((title) => ({ title, class: "text" })), { title: "told to wait" }];
  return table("Last refusals, the newest first", columns, rows, "Nobody has been refused.");
}
