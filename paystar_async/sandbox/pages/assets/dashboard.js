"use strict";
// The page is fetched every second, and its changed parts are replaced; switches and forms post JSON to the controls.
// No HTML is built from strings here: the server escapes values, this script only moves elements.
const INTERVAL_MILLISECONDS = 1000;
const pulse = document.getElementById("pulse");
const notice = document.getElementById("notice");
const currentHtml = new Map();
let timer, running;

function showConnection(isAlive) {
  const text = isAlive ? pulse.dataset.liveText : pulse.dataset.lostText;
  pulse.classList.toggle("lost", !isAlive);
  if (pulse.textContent !== text) pulse.textContent = text; // screen readers announce each change once
}

function replace(old, fresh) {
  const html = fresh.innerHTML;
  if (currentHtml.get(old.id) === html) return;
  currentHtml.set(old.id, html);
  const open = [...old.querySelectorAll("details[open]")].map((details) => details.id);
  const focus = old.contains(document.activeElement) && document.activeElement.closest("[id]");
  const onSummary = document.activeElement.localName === "summary";
  const scrolled = [...old.querySelectorAll(".scroll")].map((area) => area.scrollLeft);
  old.replaceChildren(...document.importNode(fresh, true).childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  old.querySelectorAll(".scroll").forEach((area, index) => { area.scrollLeft = scrolled[index] ?? 0; });
  if (focus && focus !== old) {
    const target = document.getElementById(focus.id);
    (onSummary ? target?.querySelector("summary") : target)?.focus({ preventScroll: true });
  }
}

const defaultIndex = (select) => [...select.options].findIndex((option) => option.defaultSelected);
const setDefaultIndex = (select, index) =>
  [...select.options].forEach((option, position) => { option.defaultSelected = position === index; });

function followSelect(old, fresh) {
  const untouched = old.selectedIndex === defaultIndex(old) && old !== document.activeElement;
  const selected = old.selectedIndex;
  setDefaultIndex(old, defaultIndex(fresh)); // selects the option too
  if (!untouched) old.selectedIndex = selected;
}

function follow(old, fresh) {
  if (old.localName === "select") { followSelect(old, fresh); return; }
  const name = old.type === "checkbox" ? "checked" : "value";
  const fallback = name === "checked" ? "defaultChecked" : "defaultValue";
  const untouched = old[name] === old[fallback] && old !== document.activeElement;
  old[fallback] = fresh[fallback];
  if (untouched) old[name] = fresh[name];
}

async function refresh() {
  clearTimeout(timer);
  running?.abort();
  const controller = running = new AbortController();
  const timeout = setTimeout(() => controller.abort(), 10 * INTERVAL_MILLISECONDS);
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal: controller.signal });
    if (!response.ok) throw new Error(response.status);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const [name, update] of [["data-live", replace], ["data-follow", follow]]) {
      for (const old of document.querySelectorAll(`[${name}]`)) {
        const fresh = page.getElementById(old.id);
        if (fresh) update(old, fresh);
      }
    }
    showConnection(true);
  } catch {
    if (controller !== running) return; // a newer refresh is running
    showConnection(false);
  } finally {
    clearTimeout(timeout);
  }
  if (controller === running && !document.hidden) timer = setTimeout(refresh, INTERVAL_MILLISECONDS);
}

async function post(control, body) {
  notice.className = "notice-bar";
  notice.textContent = "";
  try {
    const response = await fetch(`/_sandbox/${control}`, { method: "POST", body: JSON.stringify(body) });
    notice.textContent = response.ok ? notice.dataset.done : (await response.json()).error;
    notice.classList.toggle("wrong", !response.ok);
    return response.ok;
  } catch {
    showConnection(false);
    return false;
  } finally {
    refresh();
  }
}

function readForm(form) {
  const body = {};
  for (const field of form.querySelectorAll("[name]")) {
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.value !== "" || "empty" in field.dataset) {
      body[field.name] = field.type === "number" || "number" in field.dataset ? Number(field.value) : field.value;
    }
  }
  return body;
}

// The search is a part of the address: each refresh asks for it, and a reload keeps it.
function search(form) {
  const query = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...query]) if (value === "") query.delete(name);
  history.replaceState(null, "", `?${query}${location.hash}`);
  refresh();
}

function markCurrent() {
  const links = [...document.querySelectorAll("nav a")];
  const current = links.find((link) => link.hash === location.hash) ?? links[0];
  for (const link of links) link.removeAttribute("aria-current");
  current.setAttribute("aria-current", "true");
  current.parentElement.parentElement.scrollLeft += // not scrollIntoView, which would scroll the page too
    current.getBoundingClientRect().x + current.offsetWidth / 2 - innerWidth / 2;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) post(button.dataset.post, JSON.parse(button.dataset.body));
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-find]");
  if (form) search(form);
});
document.addEventListener("submit", async (event) => {
  if (event.target.closest("form[data-find]")) event.preventDefault();
  const form = event.target.closest("form[data-post]");
  if (!form) return;
  event.preventDefault();
  if (!(await post(form.dataset.post, readForm(form)))) return;
  for (const field of form.querySelectorAll("[data-follow]")) {
    if (field.localName === "select") { setDefaultIndex(field, field.selectedIndex); continue; }
    field.defaultValue = field.value;
    field.defaultChecked = field.checked;
  }
});
addEventListener("hashchange", markCurrent);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
document.querySelectorAll("[data-live]").forEach((area) => currentHtml.set(area.id, area.innerHTML));
markCurrent();
refresh();
