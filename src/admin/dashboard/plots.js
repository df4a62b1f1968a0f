// Pictures, drawn as SVG: requests by outcome, and how the day's allowance was spent.

import { h } from "./dom.js";

/** Units of the drawing: fewer on a phone, so that its letters can be read. */
const width = () => (window.innerWidth < 720 ? 480 : 960);
const LEFT = 44;
const OUTCOMES = [["fresh", "from the cache"], ["stale", "stale"], ["joined", "joined"], ["paid", "paid"], ["refused", "refused"], ["other", "failed or left"]];
const colour = (name) => ({ fill: `var(--${name})` });
const clock = (seconds) => new Date(seconds * 1_000).toISOString().slice(11, 16);

/** A round number not below `value`, for the top of an axis. */
function top(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value);
}

function axis(height, most) {
  return [0, 0.5, 1].map((part) => {
    const y = 8 + height * (1 - part);
    return [h("line", { class: "axis", x1: LEFT, x2: width(), y1: y, y2: y }), h("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, String(Math.round(most * part * 10) / 10))];
  });
}

/** Adds minutes up into steps; a step without requests is empty. */
function steps(minutes, begin, count, seconds) {
  const all = Array.from({ length: count }, (_, index) => ({ at: begin + index * seconds, waited: 0, ...Object.fromEntries(OUTCOMES.map(([name]) => [name, 0])) }));
  for (const minute of minutes) {
    const step = all[Math.floor((minute.at - begin) / seconds)];
    if (!step) continue;
    for (const name of ["fresh", "stale", "joined", "refused", "waited"]) step[name] += minute[name];
    step.paid += Math.max(0, minute.asked - minute.from_cache - minute.joined - minute.refused - minute.rejected - minute.failed - minute.left);
    step.other += minute.rejected + minute.failed + minute.left;
  }
  return all;
}

/** Stacked bars by outcome, and a line of those who waited. */
export function plotRequests(minutes, span, now) {
  const [count, seconds, what] = span === "hour" ? [60, 60, "a minute"] : [96, 900, "15 minutes"];
  const begin = (Math.floor(now / seconds) - count + 1) * seconds;
  const all = steps(minutes, begin, count, seconds);
  const height = 170;
  const sum = (step) => OUTCOMES.reduce((total, [name]) => total + step[name], 0);
  const most = top(Math.max(...all.map((step) => Math.max(sum(step), step.waited))));
  const x = (index) => LEFT + ((width() - LEFT) * index) / count;
  const wide = (width() - LEFT) / count;
  const bars = all.map((step, index) => {
    let y = 8 + height;
    const parts = OUTCOMES.filter(([name]) => step[name] > 0).map(([name]) => {
      const tall = (height * step[name]) / most;
      y -= tall;
      return h("rect", { x: x(index) + wide * 0.1, y, width: wide * 0.8, height: tall, style: colour(name) });
    });
    const words = OUTCOMES.filter(([name]) => step[name] > 0).map(([name, label]) => `${step[name]} ${label}`);
    return parts.length ? h("g", {}, h("title", {}, `${clock(step.at)} UTC: ${words.join(", ")}; ${step.waited} waited`), parts) : null;
  });
  const line = all.map((step, index) => `${x(index + 0.5)},${8 + height * (1 - step.waited / most)}`).join(" ");
  const marks = [0, 0.25, 0.5, 0.75].map((part) => h("text", { x: x(part * count), y: height + 26 }, clock(begin + part * count * seconds)));
  const total = all.reduce((sums, step) => { OUTCOMES.forEach(([name]) => { sums[name] += step[name]; }); sums.waited += step.waited; return sums; }, { waited: 0, ...Object.fromEntries(OUTCOMES.map(([name]) => [name, 0])) });
  const label = `Requests each ${what}: ${OUTCOMES.map(([name, text]) => `${total[name]} ${text}`).join(", ")}; ${total.waited} waited`;
  return [
    h("svg", { class: "plot", viewBox: `0 0 ${width()} ${height + 34}`, role: "img", "aria-label": label }, axis(height, most), bars, h("polyline", { class: "waited", points: line }), marks),
    h("ul", { class: "legend" }, OUTCOMES.map(([name, text]) => h("li", {}, h("i", { style: { background: `var(--${name})` } }), `${text} ${total[name].toLocaleString("en")}`)), h("li", {}, h("i", { style: { background: "var(--waited)" } }), `waited (line) ${total.waited.toLocaleString("en")}`)),
  ];
}

/** How the longest limit was used, and where it goes at this pace. */
export function plotDay(limit, minutes, pace, now) {
  const begin = now - 86_400;
  const end = limit.kind === "calendar" && limit.next_release !== null ? now + limit.next_release : now;
  const known = minutes.filter((minute) => minute.allowance?.limit === limit.name);
  if (!known.length) return [];
  const height = 120;
  const ahead = pace === null ? limit.used : limit.used + pace * (end - now);
  // What is far over the limit need not be seen: the line leaves the picture at its top.
  const most = top(Math.min(Math.max(limit.allowed, ahead), 1.5 * limit.allowed));
  const leaves = ahead > most ? now + (most - limit.used) / pace : end;
  const x = (seconds) => LEFT + ((width() - LEFT) * (seconds - begin)) / Math.max(1, end - begin);
  const y = (used) => 8 + height * (1 - used / most);
  const used = [...known.map((minute) => [minute.at, minute.allowance.used]), [now, limit.used]];
  const points = (all) => all.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const marks = [0, 6, 12, 18].map((hours) => h("text", { x: x(begin + hours * 3_600), y: height + 26 }, clock(begin + hours * 3_600)));
  const last = end > now ? h("text", { x: width(), y: height + 26, "text-anchor": "end" }, `reset ${clock(end)}`) : null;
  return h("svg", { class: "plot", viewBox: `0 0 ${width()} ${height + 34}`, role: "img", "aria-label": `${limit.name}: ${limit.used} of ${limit.allowed} used; at this pace ${Math.round(ahead)} at the reset` },
    axis(height, most),
    h("line", { class: "top", x1: LEFT, x2: width(), y1: y(limit.allowed), y2: y(limit.allowed) }),
    h("polyline", { class: "used", points: points(used) }),
    pace === null || end <= now ? null : h("polyline", { class: "ahead", points: points([[now, limit.used], [leaves, Math.min(ahead, most)]]) }),
    marks, last);
}
