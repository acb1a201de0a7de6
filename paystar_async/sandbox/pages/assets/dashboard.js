"use strict";
// Once a second the page is asked for again, and what has changed in it is exchanged; switches and forms post the
// JSON that the controls take. Nothing is built from strings here: the server escapes, this only moves elements.
const EVERY = 1000;
const pulse = document.getElementById("pulse");
const said = document.getElementById("said");
const shown = new Map();
let timer, asking;

function beat(alive) {
  const text = alive ? pulse.dataset.liveText : pulse.dataset.lostText;
  pulse.classList.toggle("lost", !alive);
  if (pulse.textContent !== text) pulse.textContent = text; // said once, not every second
}

function exchange(old, fresh) {
  const html = fresh.innerHTML;
  if (shown.get(old.id) === html) return;
  shown.set(old.id, html);
  const open = [...old.querySelectorAll("details[open]")].map((one) => one.id);
  const focus = old.contains(document.activeElement) && document.activeElement.closest("[id]");
  const onSummary = document.activeElement.localName === "summary";
  const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  old.replaceChildren(...document.importNode(fresh, true).childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  old.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] ?? 0; });
  if (focus && focus !== old) {
    const again = document.getElementById(focus.id);
    (onSummary ? again?.querySelector("summary") : again)?.focus({ preventScroll: true });
  }
}

const marked = (select) => [...select.options].findIndex((option) => option.defaultSelected);
const mark = (select, index) => [...select.options].forEach((option, at) => { option.defaultSelected = at === index; });

function followChoice(old, fresh) {
  const untouched = old.selectedIndex === marked(old) && old !== document.activeElement;
  const chosen = old.selectedIndex;
  mark(old, marked(fresh)); // this selects it, too
  if (!untouched) old.selectedIndex = chosen;
}

function follow(old, fresh) {
  if (old.localName === "select") { followChoice(old, fresh); return; }
  const name = old.type === "checkbox" ? "checked" : "value";
  const fallback = name === "checked" ? "defaultChecked" : "defaultValue";
  const untouched = old[name] === old[fallback] && old !== document.activeElement;
  old[fallback] = fresh[fallback];
  if (untouched) old[name] = fresh[name];
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort(), 10 * EVERY);
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: mine.signal });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const [name, take] of [["data-live", exchange], ["data-follow", follow]]) {
      for (const old of document.querySelectorAll(`[${name}]`)) {
        const fresh = page.getElementById(old.id);
        if (fresh) take(old, fresh);
      }
    }
    beat(true);
  } catch {
    if (mine !== asking) return; // a newer one is under way
    beat(false);
  } finally {
    clearTimeout(late);
  }
  if (mine === asking && !document.hidden) timer = setTimeout(refresh, EVERY);
}

async function post(control, body) {
  said.className = "said";
  said.textContent = "";
  try {
    const answer = await fetch(`/_sandbox/${control}`, { method: "POST", body: JSON.stringify(body) });
    const text = answer.ok ? said.dataset.done : (await answer.json()).error;
    said.textContent = text;
    said.classList.toggle("wrong", !answer.ok);
    return answer.ok;
  } catch {
    beat(false);
    return false;
  } finally {
    refresh();
  }
}

function read(form) {
  const body = {};
  for (const field of form.querySelectorAll("[name]")) {
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.value !== "" || "empty" in field.dataset) {
      body[field.name] = field.type === "number" || "number" in field.dataset ? Number(field.value) : field.value;
    }
  }
  return body;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) post(button.dataset.post, JSON.parse(button.dataset.body));
});
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-post]");
  if (!form) return;
  event.preventDefault();
  if (!(await post(form.dataset.post, read(form)))) return;
  for (const field of form.querySelectorAll("[data-follow]")) {
    if (field.localName === "select") { mark(field, field.selectedIndex); continue; }
    field.defaultValue = field.value;
    field.defaultChecked = field.checked;
  }
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
document.querySelectorAll("[data-live]").forEach((one) => shown.set(one.id, one.innerHTML));
refresh();
