// The page: views, what chooses and sorts, keys, and the dialog.
"use strict";

const VIEWS = new Map(BRAINDEC.views.map(view => [view.key, { ...view, wide: WIDE[view.key] }]));
const dialogs = {}, parts = {};
let now = state.read(), list = null, shown = [], place = -1;

const plural = (n, noun) => `${n.toLocaleString("en")} ${n === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies`
  : noun === "matrix" ? "matrices" : noun === "stimulus" ? "stimuli" : `${noun}s`}`;

const go = change => { now = { ...now, ...change }; state.write(now, true); draw(); };

const theme = wanted => {
  if (wanted) document.documentElement.dataset.theme = wanted;
  else delete document.documentElement.dataset.theme;
  try {
    if (wanted) localStorage.setItem("braindec-theme", wanted);
    else localStorage.removeItem("braindec-theme");
  } catch { /* a page from disk may be allowed to keep nothing */ }
};

const kept = () => { try { return localStorage.getItem("braindec-theme"); } catch { return null; } };

const frame = () => {
  const tabs = el("nav", { class: "bar", "aria-label": "views" }, el("div", {},
    [["overview", "Overview", null], ...[...VIEWS.values()].map(v => [v.key, v.title, v.items.length])]
      .map(([key, title, n]) => el("a", { href: `#view=${key}`, "data-view": key, class: n === 0 ? "empty" : "" }, title,
        n === null ? null : el("small", {}, n.toLocaleString("en"))))));
  const buttons = el("div", { class: "tools" },
    el("button", { type: "button", class: "tool", onclick: () => copy() }, "Copy link"),
    el("button", { type: "button", class: "tool", "aria-label": "light or dark", onclick: () => turn() }, "Light / dark"),
    el("button", { type: "button", class: "tool", "aria-keyshortcuts": "?", onclick: () => dialogs.help.showModal() }, "Keys ?"));
  parts.main = el("main", { id: "main" });
  parts.said = el("p", { class: "told", role: "status", "aria-live": "polite" });
  dialogs.item = el("dialog", { class: "detail", "aria-labelledby": "detail-title" });
  dialogs.help = help();
  dialogs.item.addEventListener("close", closed);
  dialogs.item.addEventListener("click", event => { if (event.target === dialogs.item) dialogs.item.close(); });
  document.body.append(el("a", { class: "skip", href: "#main", onclick: event => {
    event.preventDefault();
    (parts.main.querySelector("input, button, a") || parts.main).focus();
  } }, "To the content"),
  el("header", { class: "page slim" }, el("div", {}, el("h1", {}, BRAINDEC.title), buttons)), tabs, parts.main,
  el("footer", {}, el("p", {}, `Made by braindec ${BRAINDEC.version}. Everything on this page lies beside it; nothing is asked of a network.`)),
  dialogs.item, dialogs.help);
};

const help = () => {
  const keys = [["/", "search"], ["j  k", "next and previous item"], ["← ↑ → ↓", "move among items; in an item, to the next or previous"],
    ["Home  End", "first and last item"], ["Enter", "open the item"], ["Esc", "close it; empty the search"],
    ["[  ]", "previous and next view"], ["c", "copy the link of what is seen"], ["?", "these keys"]];
  const made = el("dialog", { class: "help", "aria-labelledby": "help-title" }, el("h2", { id: "help-title" }, "Keys"),
    el("table", { class: "keys" }, el("tbody", {}, keys.map(([key, what]) =>
      el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, what))))),
    el("form", { method: "dialog" }, el("button", { class: "tool" }, "Close")));
  made.addEventListener("click", event => { if (event.target === made) made.close(); });
  return made;
};

const turn = () => {
  const dark = (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  theme(dark === "dark" ? "light" : "dark");
};

const copy = async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    parts.said.textContent = "The link is copied.";
  } catch {
    parts.said.textContent = "This browser copies no links from here: take it from the address bar.";
  }
};

const overview = () => {
  const have = BRAINDEC.views.filter(v => v.items.length), without = BRAINDEC.views.filter(v => !v.items.length);
  return [BRAINDEC.smoke ? el("p", { class: "smoke" }, BRAINDEC.smoke) : null,
    BRAINDEC.summary ? el("p", { class: "summary" }, BRAINDEC.summary) : null,
    el("ul", { class: "chips" }, BRAINDEC.about.map(([name, value]) => el("li", {}, el("b", {}, name), value))),
    BRAINDEC.command ? el("pre", {}, BRAINDEC.command) : null,
    el("h2", {}, "What there is"), el("ul", { class: "doors" }, have.map(view => el("li", {},
      el("a", { href: `#view=${view.key}` }, el("b", {}, view.title), el("span", {}, plural(view.items.length, view.noun)),
        peek(view))))),
    without.length ? el("h2", {}, "What this run lacks") : null,
    without.map(view => lacking(view)),
    BRAINDEC.limits.length ? el("h2", {}, "What this does not show") : null,
    BRAINDEC.limits.map(text => el("p", {}, text))];
};

const peek = view => {
  const first = view.items[0];
  if (first.shots) return el("span", { class: "strip" }, view.items.slice(0, 6).map(item => shot(item.shots[0][1], "")));
  if (first.near) return el("span", { class: "strip" }, view.items.slice(0, 6).map(item => view.more.gallery.shots[item.own])
    .filter(reference => reference !== null).map(reference => shot(reference, "")));
  if (first.figure) return el("img", { src: first.figure, alt: "", loading: "lazy", class: "figure" });
  return null;
};

const lacking = view => el("div", { class: "panel" }, el("h3", {}, view.title), el("p", {}, view.lacks.text),
  el("pre", {}, view.lacks.command));

// What chooses and sorts: made once a view, as typing must not take the focus away.
const controls = view => {
  const change = (name, value) => { now = { ...now, [name]: value }; state.write(now); refresh(view); };
  const search = el("input", { type: "search", id: "search", placeholder: "name, caption, label …", autocomplete: "off",
    spellcheck: "false", "aria-keyshortcuts": "/" });
  search.value = now.search;
  let waiting = null;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => change("search", search.value), 60);
  });
  search.addEventListener("keydown", event => {
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); list.focus(0); }
    if (event.key === "Escape") { search.value = ""; change("search", ""); search.blur(); event.preventDefault(); }
  });
  const pick = (title, options, value, changed) => {
    const select = el("select", {}, options.map(([key, words]) => el("option", { value: key }, words)));
    select.value = value;
    select.addEventListener("change", () => changed(select.value));
    return el("label", {}, el("span", {}, title), select);
  };
  const facets = view.facets.map(name => {
    const count = new Map();
    for (const item of view.items) if (item.facets[name]) count.set(item.facets[name], (count.get(item.facets[name]) || 0) + 1);
    const values = [...count.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    return values.length < 2 ? null : pick(name, [["", "all"], ...values.map(v => [v, `${v} (${count.get(v)})`])],
      now.chosen[name] || "", value => change("chosen", { ...now.chosen, [name]: value }));
  }).filter(Boolean);
  const sorts = [["", "as given"], ["name", "name"], ...view.numbers.map(n => [n.name, n.title])];
  const bound = (title, name) => {
    const input = el("input", { type: "number", step: "any", class: "bound" });
    input.value = now[name] ?? "";
    input.addEventListener("input", () => change(name, input.value === "" || Number.isNaN(+input.value) ? null : +input.value));
    return el("label", {}, el("span", { "data-bound": title }), input);
  };
  const scored = view.numbers.length ? [bound("at least", "low"), bound("at most", "high")] : [];
  const filters = [...facets, ...scored];
  const wide = matchMedia("(min-width: 900px)").matches || Object.values(now.chosen).some(Boolean)
    || now.low !== null || now.high !== null;
  return el("form", { class: "controls", role: "search", onsubmit: event => event.preventDefault() },
    el("label", { class: "search" }, el("span", {}, "Search"), search),
    pick("Sort by", sorts, now.sort, value => change("sort", value)),
    pick("Order", Object.entries(ORDERS), now.order || "best", value => change("order", value)),
    el("button", { type: "button", class: "tool", onclick: () => go({ ...FRESH }) }, "Reset"),
    filters.length ? el("details", { class: "facets", open: wide }, el("summary", {}, "Filters"), el("div", {}, filters)) : null);
};

const refresh = view => {
  shown = sorted(view, matching(view, now), now);
  list.show(view, shown);
  const by = view.numbers[Math.max(0, view.numbers.findIndex(n => n.name === now.sort))];
  for (const words of parts.main.querySelectorAll("[data-bound]")) words.textContent = `${by.title} ${words.dataset.bound}`;
  const all = shown.length === view.items.length ? "" : ` of ${view.items.length.toLocaleString("en")}`;
  parts.said.textContent = shown.length ? plural(shown.length, view.noun).replace(/^([\d,]+)/, `$1${all}`)
    : `No ${view.noun} matches. Change the search or the filters.`;
};

const draw = () => {
  const view = VIEWS.get(now.view);
  document.querySelectorAll("nav.bar a").forEach(a => {
    if (a.dataset.view === (view ? view.key : "overview")) {
      a.setAttribute("aria-current", "page");
      a.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    } else a.removeAttribute("aria-current");
  });
  list?.leave();
  list = null;
  document.title = `${view ? `${view.title} · ` : ""}${BRAINDEC.title} · braindec explorer`;
  if (!view) parts.main.replaceChildren(el("div", { class: "overview" }, overview().flat()));
  else if (!view.items.length) parts.main.replaceChildren(el("h2", {}, view.title), lacking(view));
  else {
    list = new List((v, item) => CARDS[v.key](v, item), (items, at) => open(at));
    parts.main.replaceChildren(el("h2", { class: "unseen" }, view.title), controls(view), parts.said, list.element);
    refresh(view);
  }
  const at = now.item && view ? shown.findIndex(item => item.key === now.item) : -1;
  if (at >= 0) fill(view, at);
  else if (now.item && view) {
    const item = view.items.find(one => one.key === now.item);
    if (item) { shown = [item]; fill(view, 0); }
    else parts.said.textContent = "The item of this link is not in this run.";
  } else if (dialogs.item.open) dialogs.item.close();
};

const open = at => { now = { ...now, item: shown[at].key }; state.write(now, true); fill(VIEWS.get(now.view), at); };

const fill = (view, at) => {
  place = at;
  const item = shown[at], step = d => el("button", { type: "button", class: "tool", disabled: !shown[at + d],
    onclick: () => move(d) }, d < 0 ? "← Previous" : "Next →");
  dialogs.item.replaceChildren(el("div", { class: "top" }, el("div", {}, el("h2", { id: "detail-title" }, item.name),
    el("p", { class: "quiet" }, `${item.who ? `${item.who} · ` : ""}${at + 1} of ${shown.length.toLocaleString("en")}`)),
  el("div", { class: "tools" }, step(-1), step(1), el("button", { type: "button", class: "tool", onclick: () => dialogs.item.close() },
    "Close"))), el("div", { class: "body" }, ...DETAILS[view.key](view, item).flat().filter(Boolean), labels(item) || ""));
  dialogs.item.scrollTop = 0;
  if (!dialogs.item.open) dialogs.item.showModal();
};

const move = d => {
  if (!shown[place + d]) return;
  now = { ...now, item: shown[place + d].key };
  state.write(now);
  fill(VIEWS.get(now.view), place + d);
};

const closed = () => {
  if (!now.item) return;
  now = { ...now, item: "" };
  state.write(now);
  const view = VIEWS.get(now.view), stood = place;
  if (view && list && list.items !== shown) refresh(view);
  list?.focus(stood);
};

const keys = event => {
  if (event.altKey || event.ctrlKey || event.metaKey || dialogs.help.open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (dialogs.item.open) {
    const step = { ArrowRight: 1, ArrowDown: 1, j: 1, ArrowLeft: -1, ArrowUp: -1, k: -1 }[event.key];
    const scrolls = event.key === "ArrowDown" || event.key === "ArrowUp";
    if (step && !scrolls && event.target.tagName !== "CANVAS") { event.preventDefault(); move(step); }
    if (event.key === "c") copy();
    return;
  }
  if (typing) return;
  const order = ["overview", ...VIEWS.keys()], at = order.indexOf(now.view);
  const turned = { "[": order[at - 1], "]": order[at + 1] }[event.key];
  if (turned) go({ ...FRESH, view: turned });
  else if (event.key === "?") dialogs.help.showModal();
  else if (event.key === "c") copy();
  else if (event.key === "/" && document.getElementById("search")) {
    event.preventDefault();
    document.getElementById("search").focus();
  } else if (list && (event.key === "j" || event.key === "k")) {
    const within = list.element.contains(document.activeElement);
    list.focus(within ? list.at + (event.key === "j" ? 1 : -1) : list.at);
  } else if (list && event.key.startsWith("Arrow") && event.target === document.body) {
    event.preventDefault();
    list.focus(list.at);
  }
};

const FRESH = { search: "", chosen: {}, sort: "", order: "", low: null, high: null, item: "" };

if (location.protocol !== "file:" && location.search) {
  // The token of the first visit is a cookie by now: it need not stay in the address.
  history.replaceState(null, "", location.pathname + location.hash);
}
theme(kept());
frame();
addEventListener("popstate", () => { now = state.read(); draw(); });
addEventListener("keydown", keys);
draw();
performance.mark("ready");
document.documentElement.dataset.ready = "true";
