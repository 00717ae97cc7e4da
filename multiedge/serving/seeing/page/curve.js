/* A curve over time as SVG, in pixels of the screen, so that its words have their size on every screen. */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 132, TOP = 8, BOTTOM = 20, LEFT = 46, RIGHT = 8;
export const LEAST_SPAN_S = 60, MOST_SPAN_S = 300;

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/* The least of 1, 2, 2.5, 5 times a power of ten that is not below the value. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9)) * power;
}

/* Pieces of the points between which nothing is missing: a gap is drawn as a gap. */
export function pieces(points) {
  const found = [[]];
  points.forEach((point, place) => {
    const before = points[place - 1];
    if (before && (point.value === null || point.at - before.at > 3.5)) found.push([]);
    if (point.value !== null) found.at(-1).push(point);
  });
  return found.filter((piece) => piece.length);
}

/* Draws points {at, value} up to the time `now`, with lines at `events` {at, isBack}. `words` puts a value into words. */
export function draw(svg, points, now, events, words) {
  const width = Math.max(160, svg.clientWidth || svg.parentElement.clientWidth);
  const span = Math.min(MOST_SPAN_S, Math.max(LEAST_SPAN_S, points.length ? now - points[0].at : 0));
  const shown = points.filter((point) => point.at >= now - span);
  const top = niceTop(1.05 * Math.max(0, ...shown.map((point) => point.value ?? 0)));
  const x = (at) => LEFT + (width - LEFT - RIGHT) * Math.min(1, 1 - (now - at) / span);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const parts = [];
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    parts.push(shape("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: part ? "scale" : "zero" }));
    parts.push(shape("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, part ? words(top * part) : "0"));
  }
  const ago = span >= 120 ? `${Math.round(span / 60)} min ago` : `${Math.round(span)} s ago`;
  parts.push(shape("text", { x: LEFT, y: HEIGHT - 3 }, ago));
  parts.push(shape("text", { x: width - RIGHT, y: HEIGHT - 3, "text-anchor": "end" }, "now"));
  for (const event of events.filter((each) => each.at >= now - span)) {
    const at = x(event.at);
    parts.push(shape("line", { x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM, class: event.isBack ? "event back" : "event" }));
  }
  for (const piece of pieces(shown)) {
    if (piece.length === 1) parts.push(shape("circle", { cx: x(piece[0].at), cy: y(piece[0].value), r: 1.5, class: "head" }));
    const line = piece.map((point) => `${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("L");
    const [first, last] = [x(piece[0].at).toFixed(1), x(piece.at(-1).at).toFixed(1)];
    parts.push(shape("path", { d: `M${first} ${y(0)}L${line}L${last} ${y(0)}Z`, class: "under" }));
    parts.push(shape("path", { d: `M${line}`, class: "line" }));
  }
  const last = shown.at(-1);
  if (last && last.value !== null) parts.push(shape("circle", { cx: x(last.at), cy: y(last.value), r: 3.5, class: "head" }));
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren(...parts);
}
