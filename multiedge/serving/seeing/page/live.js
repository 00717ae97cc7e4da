/* The live page: a copy of the hub's snapshot, kept up to date by server-sent events, and its picture. */

import { draw } from "./curve.js";

const RETRY_MS = 1000, SILENT_MS = 6000, RECENT_S = 600, IDLE_S = 30, COLOURS = 8, MOST_NAMED = 4;
const state = { nodes: {}, links: {}, deployments: {}, runs: {}, samples: {}, faults: {} };
let nowS = 0;

/* ---- words ---- */

const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 3 });
const rate = (value) => (value === null ? "–" : digits(value));
function seconds(value) {
  if (value === null) return "–";
  if (value < 0.001) return `${digits(value * 1e6)} µs`;
  return value < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
}
function bytes(value) {
  if (value === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (value >= 1000 && power < units.length - 1) { value /= 1024; power += 1; }
  return `${digits(value)} ${units[power]}`;
}
const perSecond = (value) => (value === null ? "–" : `${bytes(value)}/s`);
const percent = (share) => (share === null ? "–" : share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);
const clock = (unixS) => new Date(unixS * 1000).toLocaleTimeString("en-GB");
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/* ---- elements ---- */

const byId = (id) => document.getElementById(id);
function make(tag, classes = "", ...children) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}
function say(element, text) { if (element.textContent !== text) element.textContent = text; }
function style(element, classes) { if (element.className !== classes) element.className = classes; }

/* Shows entries as children of a parent, one part for each key: a part that is there is updated and stays in place. */
function show(parent, entries, build) {
  const parts = (parent.parts ??= new Map());
  const keys = new Set(entries.map(([key]) => key));
  for (const [key, part] of parts) if (!keys.has(key)) { part.element.remove(); parts.delete(key); }
  entries.forEach(([key, entry], place) => {
    if (!parts.has(key)) parts.set(key, build(entry, key));
    const part = parts.get(key);
    if (parent.children[place] !== part.element) parent.insertBefore(part.element, parent.children[place] ?? null);
    part.update(entry);
  });
}

/* A bar with its share; a share that is not known has no bar. */
function meter(label) {
  const bar = make("i");
  const element = make("div", "meter", bar);
  element.setAttribute("role", "meter");
  element.setAttribute("aria-valuemin", "0");
  element.setAttribute("aria-valuemax", "100");
  return {
    element,
    update(share, name = label) {
      element.hidden = share === null;
      const value = Math.min(100, Math.round((share ?? 0) * 100));
      element.setAttribute("aria-label", name);
      element.setAttribute("aria-valuenow", String(value));
      bar.style.width = `${value}%`;
    },
  };
}

const colourOf = (name) => {
  const place = Object.keys(state.nodes).sort().indexOf(name);
  return place < 0 ? "" : `d${place % COLOURS}`;
};

/* ---- tiles ---- */

function tile(label) {
  const value = make("span"), unit = make("small");
  const element = make("div", "", make("dt", "", label), make("dd", "", value, " ", unit));
  return { element, update([text, words]) { say(value, text); say(unit, words); } };
}

function showTiles() {
  const nodes = Object.values(state.nodes), running = Object.values(state.runs).filter((run) => run.phase === "running");
  const alive = nodes.filter((node) => node.status !== "lost").length;
  const rates = running.map((run) => run.items_per_s).filter((value) => value !== null);
  const slowest = running.map((run) => run.p99_s).filter((value) => value !== null);
  const recent = Object.values(state.faults).filter((fault) => fault.kind !== "return" && fault.unix_s >= nowS - RECENT_S);
  show(byId("tiles"), [
    ["Devices", [String(alive), `of ${nodes.length}`]],
    ["Pipelines", [String(running.length), "running"]],
    ["Throughput", [rates.length ? rate(rates.reduce((a, b) => a + b, 0)) : "–", "items/s"]],
    ["Latency", [slowest.length ? seconds(Math.max(...slowest)) : "–", "p99"]],
    ["Faults", [String(recent.length), "in 10 min"]],
  ], (_, label) => tile(label));
  say(byId("lead"), nodes.length ? `${alive} of ${plural(nodes.length, "device")} alive, ${plural(Object.keys(state.deployments).length, "deployment")}` : "No devices yet");
  document.title = `Fleet: ${alive} of ${nodes.length}`;
}

/* ---- pipelines ---- */

function linkShare(sources, targets) {
  const shares = sources.flatMap((a) => targets.map((b) => state.links[`${a} ${b}`]?.share ?? null)).filter((share) => share !== null);
  return shares.length ? Math.max(...shares) : null;
}

function box() {
  const title = make("b"), where = make("span"), busy = meter("");
  const element = make("div", "stage", title, where, busy.element);
  return {
    element,
    update({ name, note, colour, share, isEnd }) {
      say(title, name);
      say(where, note);
      style(element, `stage ${isEnd ? "end" : colour}`);
      busy.update(share, `${name}: computing`);
    },
  };
}

function step() {
  const inner = box(), arrow = make("span", "arrow");
  return {
    element: make("li", "", inner.element, arrow),
    update(entry) {
      inner.update(entry);
      arrow.hidden = entry.sent === undefined;
      const share = entry.linkShare === null || entry.linkShare === undefined ? "" : `, ${percent(entry.linkShare)} of the link`;
      say(arrow, entry.sent === undefined ? "" : `${perSecond(entry.sent)}${share}`);
    },
  };
}

function stepsOf(run) {
  const caller = { name: run.caller.replace(/^client:/, "") || "caller", note: "caller", isEnd: true, share: null };
  const steps = run.stages.map((stage, place) => ({
    name: stage.devices.join(", "),
    note: `stage ${stage.stage + 1}${stage.busy === null ? "" : ` · ${percent(stage.busy)} busy`}`,
    colour: colourOf(stage.devices[0]),
    share: stage.busy,
    sent: place + 1 < run.stages.length ? stage.bytes_per_s : run.output_bytes_per_s,
    linkShare: place + 1 < run.stages.length ? linkShare(stage.devices, run.stages[place + 1].devices) : null,
  }));
  return [{ ...caller, sent: run.input_bytes_per_s }, ...steps, caller].map((entry, place) => [String(place), entry]);
}

function curve(title, classes) {
  const now = make("p", "now"), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("role", "img");
  return {
    element: make("div", classes, make("h4", "", title), now, svg),
    update(value, unit, points, events, words) {
      now.replaceChildren(value, " ", make("small", "", unit));
      svg.setAttribute("aria-label", `${title}: ${value} ${unit} now`);
      draw(svg, points, nowS, events, words);
    },
  };
}

/* The name of the only plan of a deployment says nothing. */
const ONLY_ROW = "plan";
const rowName = (row) => (row && row !== ONLY_ROW ? ` / ${row}` : "");
const titleOf = (run) => (run.deployment ? `${run.deployment}${rowName(run.row)}` : run.model || "a pipeline");

const PHASES = { running: "badge live", silent: "badge late", ended: "badge plainbadge" };

function pipeline() {
  const title = make("h3"), phase = make("span"), note = make("span", "hint"), flow = make("ol", "flow");
  const throughput = curve("Throughput", "first"), latency = curve("Latency, 99th percentile", "second");
  const element = make("article", "card pipeline", make("header", "", title, phase, note), flow,
    make("div", "curves", throughput.element, latency.element));
  return {
    element,
    update(run) {
      say(title, titleOf(run));
      say(phase, run.phase);
      style(phase, PHASES[run.phase]);
      const failed = run.failed ? `, ${run.failed} failed` : "";
      say(note, `${run.answered.toLocaleString("en")} answered${failed}, ${run.unanswered} under way`);
      show(flow, stepsOf(run), step);
      const samples = Object.values(state.samples).filter((sample) => sample.run === run.run).sort((a, b) => a.unix_s - b.unix_s);
      const devices = new Set(run.stages.flatMap((stage) => stage.devices));
      const events = Object.values(state.faults).filter((fault) => fault.run === run.run || (!fault.run && devices.has(fault.device)))
        .map((fault) => ({ at: fault.unix_s, isBack: fault.kind === "return" }));
      const points = (name) => samples.map((sample) => ({ at: sample.unix_s, value: sample[name] }));
      const most = run.expected_items_per_s === null ? "items/s" : `items/s, of at most ${rate(run.expected_items_per_s)} planned`;
      throughput.update(rate(run.items_per_s), most, points("items_per_s"), events, rate);
      latency.update(seconds(run.p99_s), run.p50_s === null ? "" : `median ${seconds(run.p50_s)}`, points("p99_s"), events, seconds);
    },
  };
}

/* ---- devices ---- */

function figure(label) {
  const value = make("dd"), bar = meter(label);
  const holder = make("dd", "meter-holder", bar.element);
  const element = make("div", "", make("dt", "", label), value, holder);
  return {
    element,
    update([text, share]) { say(value, text); bar.update(share); holder.hidden = share === null; element.hidden = text === null; },
  };
}

function chip() {
  const element = make("li");
  return {
    element,
    update({ name, phase, stages, reason }) {
      const which = stages.length > MOST_NAMED ? plural(stages.length, "stage") : `${stages.length > 1 ? "stages" : "stage"} ${stages.join(", ")}`;
      say(element, `${name} · ${which}${phase === "ready" || phase === "lost" ? "" : ` · ${phase}`}`);
      style(element, phase);
      element.title = reason;
    },
  };
}

/* The stages of a node, those of one plan that are equally far together. */
function held(node) {
  const chips = new Map();
  for (const stage of node.stages) {
    const phase = node.status === "lost" ? "lost" : stage.phase;
    const name = `${stage.deployment}${rowName(stage.row)}`, key = `${name} ${phase}`;
    if (!chips.has(key)) chips.set(key, { name, phase, stages: [], reason: stage.reason });
    chips.get(key).stages.push(stage.stage + 1);
  }
  return [...chips];
}

function device() {
  const title = make("h3"), status = make("span"), note = make("p", "hint"), figures = make("dl"), chips = make("ul", "chips");
  const element = make("article", "", make("header", "", title, status), note, figures, chips);
  return {
    element,
    update(node) {
      say(title, node.name);
      const isLost = node.status === "lost";
      say(status, isLost ? `lost at ${clock(node.lost_unix_s)}` : node.status);
      style(status, `badge ${node.status === "alive" ? "live" : node.status}`);
      style(element, `card device ${colourOf(node.name)}${isLost ? " is-lost" : ""}`);
      const speed = node.flops_per_s === null ? "" : ` · ${digits(node.flops_per_s / 1e9)} GFLOP/s`;
      say(note, `${node.address}\n${plural(node.threads, "thread")}${speed}`);
      const used = node.memory_bytes === null || node.free_bytes === null ? null : Math.max(0, node.memory_bytes - node.free_bytes);
      const rows = [
        ["Processors", [percent(node.load), node.load]],
        ["Computing for pipelines", [percent(node.busy), node.busy]],
        ["Memory", [used === null ? "–" : `${bytes(used)} of ${bytes(node.memory_bytes)}`, used === null ? null : used / node.memory_bytes]],
      ];
      if (node.battery !== null) rows.push(["Battery", [percent(node.battery), node.battery]]);
      figures.hidden = isLost;
      show(figures, rows, (_, label) => figure(label));
      chips.hidden = !node.stages.length;
      show(chips, held(node), chip);
    },
  };
}

/* ---- links ---- */

function link() {
  const title = make("th"), used = make("td", "cell"), sent = make("td", "num"), bandwidth = make("td", "num"), trip = make("td", "num");
  const bar = meter("used"), share = make("span");
  title.scope = "row";
  used.append(bar.element, share);
  for (const [cell, label] of [[used, "used"], [sent, "sent"], [bandwidth, "bandwidth"], [trip, "round trip"]]) cell.dataset.label = label;
  return {
    element: make("tr", "", title, used, sent, bandwidth, trip),
    update(entry) {
      say(title, `${entry.source} → ${entry.target}`);
      style(bar.element, `meter ${colourOf(entry.source)}`);
      bar.update(entry.share, `${entry.source} to ${entry.target}: used`);
      say(share, entry.share === null ? (entry.bytes_per_s === null ? "idle" : "bandwidth unknown") : percent(entry.share));
      say(sent, perSecond(entry.bytes_per_s));
      say(bandwidth, perSecond(entry.bandwidth_bytes_per_s));
      say(trip, seconds(entry.rtt_s));
    },
  };
}

/* Links that pipelines use stand first; the others can be opened, or stand there alone. */
function showLinks(links) {
  const used = links.filter(([, entry]) => entry.bytes_per_s !== null);
  const idle = links.filter(([, entry]) => entry.bytes_per_s === null);
  list("links", "link-list", used, link, byId("link-card").querySelector(".scroll"));
  show(byId("idle-list"), idle, link);
  byId("link-card").hidden = links.length === 0;
  byId("no-links").hidden = links.length > 0;
  byId("idle-links").hidden = idle.length === 0;
  say(byId("idle-title"), plural(idle.length, "idle link"));
}

/* ---- faults ---- */

const inWords = { return: "back", lost: "lost", leave: "left" };

function fault(entry) {
  const isBack = entry.kind === "return";
  const badge = make("span", `badge ${isBack ? "valid" : "invalid"}`, inWords[entry.kind] ?? entry.kind);
  const what = make("span", "what", entry.detail || entry.device), after = make("span", "after");
  const time = make("time", "", clock(entry.unix_s));
  time.dateTime = new Date(entry.unix_s * 1000).toISOString();
  const element = make("li", entry.unix_s >= nowS - 3 ? "new" : "", time, badge, what, after);
  return {
    element,
    update(now) {
      const recovered = now.recovered_after_s === null ? "not recovered yet" : `${now.run ? "recovered" : "back"} after ${seconds(now.recovered_after_s)}`;
      const run = state.runs[now.run];
      say(after, [run ? titleOf(run) : "", isBack ? "" : recovered].filter(Boolean).join(" · "));
    },
  };
}

/* ---- plans ---- */

const HEADINGS = ["plan", "phase", "devices", "latency", "throughput", "now", "energy", "accuracy"];
const WORDS = 3, DEPLOYED = { ready: "badge live", failed: "badge lost" };

function row() {
  const title = make("th"), phase = make("span"), cells = HEADINGS.slice(1).map((label, place) => {
    const cell = make("td", place + 1 < WORDS ? "" : "num");
    cell.dataset.label = label;
    return cell;
  });
  title.scope = "row";
  cells[0].append(phase);
  return {
    element: make("tr", "", title, ...cells),
    update(plan) {
      const known = (value, words) => (value === null ? "unknown" : words(value));
      say(title, plan.name);
      say(phase, plan.phase);
      style(phase, DEPLOYED[plan.phase] ?? "badge late");
      phase.title = plan.reason;
      const texts = [plan.nodes.join(", "), known(plan.latency_s, seconds), known(plan.items_per_s, (value) => `${rate(value)} items/s`),
        plan.running_items_per_s === null ? "not in use" : `${rate(plan.running_items_per_s)} items/s`,
        known(plan.energy_j, (value) => `${digits(value)} J`), known(plan.accuracy, (value) => `${digits(value * 100)} %`)];
      texts.forEach((text, place) => {
        const cell = cells[place + 1];
        say(cell, text);
        cell.classList.toggle("none", text === "unknown" || text === "not in use");
      });
    },
  };
}

function deployment(entry) {
  const title = make("h3"), phase = make("span"), reason = make("p", "hint"), rows = make("tbody");
  const heads = HEADINGS.map((text, place) => { const cell = make("th", place < WORDS ? "" : "num", text); cell.scope = "col"; return cell; });
  const table = make("table", "stack", make("thead", "", make("tr", "", ...heads)), rows);
  const region = make("div", "scroll", table);
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", `Plans of ${entry.name}`);
  return {
    element: make("article", "card deployment", make("header", "", title, phase), reason, region),
    update(now) {
      say(title, now.name);
      say(phase, now.phase);
      style(phase, DEPLOYED[now.phase] ?? "badge late");
      say(reason, [now.model, now.reason].filter(Boolean).join(" · "));
      show(rows, now.rows.map((plan) => [plan.name, plan]), row);
    },
  };
}

/* ---- all of it ---- */

function list(section, id, entries, build, card = byId(id)) {
  show(byId(id), entries, build);
  card.hidden = entries.length === 0;
  byId(`no-${section}`).hidden = entries.length > 0;
}

const PHASE_ORDER = ["running", "silent", "ended"];

/* Pipelines with nothing to do for a while can be opened; front ends keep one for each plan. */
function showPipelines(runs) {
  const busy = new Set(Object.values(state.samples).filter((sample) => sample.items_per_s > 0 && sample.unix_s > nowS - IDLE_S).map((sample) => sample.run));
  const isIdle = (run) => run.phase === "running" && !run.unanswered && !busy.has(run.run);
  const running = runs.filter(([, run]) => run.phase !== "ended");
  const shown = running.length ? running : runs.slice(0, 1);
  const idle = shown.filter(([, run]) => isIdle(run));
  list("pipelines", "pipeline-list", shown.filter(([, run]) => !isIdle(run)), pipeline);
  byId("no-pipelines").hidden = shown.length > 0;
  byId("idle-pipelines").hidden = idle.length === 0;
  say(byId("idle-pipelines-title"), plural(idle.length, "idle pipeline"));
  show(byId("idle-pipeline-list"), idle, pipeline);
}

function showAll() {
  const sorted = (section, order) => Object.entries(state[section]).sort(([, a], [, b]) => order(a, b));
  showTiles();
  const recent = sorted("runs", (a, b) => PHASE_ORDER.indexOf(a.phase) - PHASE_ORDER.indexOf(b.phase) || titleOf(a).localeCompare(titleOf(b)));
  showPipelines(recent);
  list("devices", "device-list", sorted("nodes", (a, b) => a.name.localeCompare(b.name)), device);
  showLinks(sorted("links", (a, b) => (b.bytes_per_s ?? 0) - (a.bytes_per_s ?? 0) || a.source.localeCompare(b.source)));
  list("faults", "fault-list", sorted("faults", (a, b) => b.unix_s - a.unix_s), fault, byId("fault-card"));
  list("plans", "deployment-list", sorted("deployments", (a, b) => a.name.localeCompare(b.name)), deployment);
}

function announce(changes) {
  const news = Object.values(changes.faults ?? {}).filter((entry) => entry && entry.unix_s >= nowS - 5 && entry.recovered_after_s === null);
  if (news.length) say(byId("announcement"), news.map((entry) => entry.detail || `${entry.kind}: ${entry.device}`).join("; "));
}

function merge(changes) {
  for (const [section, entries] of Object.entries(changes)) {
    for (const [key, entry] of Object.entries(entries)) {
      if (entry === null) delete state[section][key]; else state[section][key] = entry;
    }
  }
}

/* ---- connection ---- */

let source = null, silence = 0, lastHeard = null;

function connected(isLive) {
  const badge = byId("connection");
  say(badge, isLive ? "live" : "reconnecting");
  style(badge, `badge ${isLive ? "live" : "late"}`);
  const away = byId("away");
  away.hidden = isLive;
  say(away, isLive ? "" : `No connection to the hub${lastHeard ? ` since ${lastHeard}` : ""}. What is shown is old; trying again.`);
}

function heard(event, take) {
  const { now_s: now, data } = JSON.parse(event.data);
  nowS = now;
  lastHeard = clock(now);
  take(data);
  connected(true);
  showAll();
  clearTimeout(silence);
  silence = setTimeout(reconnect, SILENT_MS);
}

function reconnect() {
  source?.close();
  clearTimeout(silence);
  connected(false);
  silence = setTimeout(connect, RETRY_MS);
}

function connect() {
  source = new EventSource("live/events");
  source.addEventListener("snapshot", (event) => heard(event, (data) => {
    for (const section of Object.keys(state)) state[section] = data[section] ?? {};
  }));
  source.addEventListener("change", (event) => heard(event, (data) => { merge(data); announce(data); }));
  source.addEventListener("error", reconnect);
  clearTimeout(silence);
  silence = setTimeout(reconnect, SILENT_MS);
}

/* ---- theme ---- */

const root = document.documentElement, toggle = byId("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
const nameTheme = () => say(toggle, isDark() ? "Light theme" : "Dark theme");
toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
systemDark.addEventListener("change", nameTheme);
nameTheme();

addEventListener("resize", showAll);
connect();
