"use strict";

/* Theme: what the system says, until somebody says otherwise. */
const root = document.documentElement;
const toggle = document.getElementById("theme");
const systemDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark());
const nameTheme = () => { toggle.textContent = isDark() ? "Light theme" : "Dark theme"; };
toggle.hidden = false;
toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
nameTheme();

/* Sorting: a column's button turns its rows; what was not measured stays last. */
const status = document.getElementById("status");
function sortBy(header) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const column = [...header.parentElement.children].indexOf(header);
  const first = header.dataset.first || "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.children[column].dataset.value ?? row.children[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const [m, n] = [Number(x), Number(y)];
    return sign * (Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n);
  };
  for (const cell of header.parentElement.children) cell.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  body.append(...[...body.rows].sort(compare));
  status.textContent = `sorted by ${header.dataset.name}, ${order}`;
}
for (const header of document.querySelectorAll("th[data-name]")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

/* A link to a run opens it. */
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const run = target && target.closest("details.run");
  if (run) run.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
addEventListener("beforeprint", () => { for (const run of document.querySelectorAll("details.run")) run.open = true; });
