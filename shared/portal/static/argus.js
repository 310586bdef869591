// Everything here is a convenience: each page works without it.
(() => {
  "use strict";

  const moment = new Intl.DateTimeFormat(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
  });

  function span(seconds) {
    if (seconds < 60) return `${seconds} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
    const days = Math.floor(hours / 24);
    return days < 14 ? `${days} d ${hours % 24} h` : `${days} d`;
  }

  function countdown(seconds) {
    if (seconds >= 3600) return span(seconds);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} min`;
  }

  function showRunning(element, at) {
    const seconds = Math.floor((at - Date.now()) / 1000);
    let text = `${span(Math.max(0, -seconds))} ago`;
    if ("until" in element.dataset) {
      text = seconds > 0 ? `${countdown(seconds)} left` : "time is up";
      element.classList.toggle("soon", seconds < 300);
    } else if (seconds > -5) {
      text = "just now";
    }
    if (element.textContent !== text) element.textContent = text;
  }

  function showTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = Date.parse(element.dateTime);
      if (Number.isNaN(at)) continue;
      if ("age" in element.dataset || "until" in element.dataset) showRunning(element, at);
      else element.textContent = moment.format(at);
      element.title = `${moment.format(at)} = ${element.title}`;
    }
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-age], time[data-until]")) {
      showRunning(element, Date.parse(element.dateTime));
    }
    window.setTimeout(tick, 1000);
  }

  const region = document.getElementById("live");
  const status = document.getElementById("live-status");

  function busy() {
    const active = document.activeElement;
    const selection = window.getSelection();
    return document.hidden || (selection && !selection.isCollapsed && selection.toString() !== "")
      || (region.contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName))
      || [...region.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
  }

  function key(element) {
    return `${element.tagName} ${element.id} ${element.getAttribute("href") || ""} ${element.textContent}`;
  }

  function swap(fresh) {
    const open = [...region.querySelectorAll("details[open]")].map((details) => details.id);
    const focused = region.contains(document.activeElement) ? key(document.activeElement) : "";
    const scrolled = [...region.querySelectorAll(".lines, .scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    region.replaceChildren(...document.importNode(fresh, true).childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    [...region.querySelectorAll(".lines, .scroll")].forEach((box, i) => scrolled[i] && box.scrollTo(...scrolled[i]));
    showTimes(region);
    if (focused) {
      const again = [...region.querySelectorAll("a, button, summary")].find((element) => key(element) === focused);
      again?.focus({ preventScroll: true });
    }
  }

  // Ages differ in every answer, so they do not count as news.
  function news(root) {
    return root.innerHTML.replace(/(<time[^>]*data-(?:age|until)[^>]*>)[^<]*/g, "$1");
  }

  let shown = region ? news(region) : "";  // before any time is turned into the viewer's zone

  async function refresh() {
    try {
      const address = window.location.pathname + window.location.search;
      const answer = await fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected) throw new Error("signed out");
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (fresh && news(fresh) !== shown && !busy()) {
        shown = news(fresh);
        swap(fresh);
      }
      status.textContent = "";
    } catch (problem) {
      status.textContent = problem.message === "signed out"
        ? "You are signed out; reload the page." : "ARGUS does not answer; this page may be old.";
    }
  }

  async function watch() {
    if (!document.hidden) await refresh();
    window.setTimeout(watch, Number(region.dataset.live) * 1000);
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    // Disabled after the browser has read the pressed button, so that its value is still sent; a second click is not.
    window.setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
  });

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const element of document.querySelectorAll("[data-zone]")) {
    element.textContent = `Times are in your zone (${zone}); hold the pointer over one to see UTC.`;
  }
  showTimes(document);
  tick();
  const first = window.location.search.includes("note=") ? 1 : Number(region?.dataset.live);
  if (region) window.setTimeout(watch, first * 1000);
})();
