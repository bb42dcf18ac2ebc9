// Elements, pictures, words and the state that a link carries. Data become text nodes and attributes, never markup.
"use strict";

const el = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
};

const drawn = (tag, properties = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const EDGE = 1; // pixels around each picture of a sheet
const MOST = 1024; // pictures in a sheet

// A picture out of its sheet.
const shot = (reference, alt) => {
  const sheet = BRAINDEC.sheets[Math.floor(reference / MOST)], place = reference % MOST;
  const { columns, rows, width, height } = sheet, wide = width + 2 * EDGE, tall = height + 2 * EDGE;
  const span = el("span", { class: "shot", role: "img", "aria-label": alt });
  const at = (step, n, whole, inner) => n * whole === inner ? 0 : 100 * (step * whole + EDGE) / (n * whole - inner);
  span.style.backgroundImage = `url("${sheet.file}")`;
  span.style.backgroundSize = `${100 * columns * wide / width}% ${100 * rows * tall / height}%`;
  span.style.backgroundPosition =
    `${at(place % columns, columns, wide, width)}% ${at(Math.floor(place / columns), rows, tall, height)}%`;
  span.style.aspectRatio = `${width} / ${height}`;
  return span;
};

const figureOf = (reference, label, alt, kind = "") =>
  el("figure", { class: kind }, reference === null ? el("span", { class: "shot none" }, label) : shot(reference, alt),
    el("figcaption", {}, label));

const say = value => value === null || value === undefined ? "–"
  : Number.isInteger(value) ? String(value)
  : value !== 0 && Math.abs(value) < 0.0005 ? value.toExponential(1) : value.toFixed(3);

// What is looked at, as the part of the address behind #: it can be sent to others.
const state = {
  read() {
    const told = new URLSearchParams(location.hash.slice(1));
    const chosen = Object.fromEntries([...told].filter(([name]) => name.startsWith("f."))
      .map(([name, value]) => [name.slice(2), value]));
    const bound = name => told.get(name) === null || told.get(name) === "" || Number.isNaN(+told.get(name))
      ? null : +told.get(name);
    return { view: told.get("view") || "overview", search: told.get("q") || "", chosen, sort: told.get("sort") || "",
      order: told.get("order") || "", low: bound("low"), high: bound("high"), item: told.get("item") || "" };
  },
  write(now, step = false) {
    const told = new URLSearchParams();
    told.set("view", now.view);
    if (now.search) told.set("q", now.search);
    for (const [name, value] of Object.entries(now.chosen)) if (value) told.set(`f.${name}`, value);
    if (now.sort) told.set("sort", now.sort);
    if (now.order) told.set("order", now.order);
    if (now.low !== null) told.set("low", now.low);
    if (now.high !== null) told.set("high", now.high);
    if (now.item) told.set("item", now.item);
    const address = `#${told}`;
    if (address === location.hash) return;
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  },
};

// Everything that a search looks through, in small letters, made once an item.
const haystack = item => item.haystack ??= [item.name, item.who, ...Object.entries(item.facets || {}).flat(),
  ...(item.texts || []).flat()].join(" ").toLowerCase();

const matching = (view, now) => {
  const words = now.search.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = Object.entries(now.chosen).filter(([name, value]) => value && view.facets.includes(name));
  const by = view.numbers.findIndex(n => n.name === now.sort), column = Math.max(by, 0);
  return view.items.filter(item =>
    chosen.every(([name, value]) => item.facets[name] === value)
    && words.every(word => haystack(item).includes(word))
    && (now.low === null || (item.numbers?.[column] ?? -Infinity) >= now.low)
    && (now.high === null || (item.numbers?.[column] ?? Infinity) <= now.high));
};

const ORDERS = { best: "best first", worst: "worst first", turn: "best and worst in turn" };

const sorted = (view, items, now) => {
  if (now.sort === "name") {
    const found = [...items].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    return now.order === "worst" ? found.reverse() : found;
  }
  const column = view.numbers.findIndex(n => n.name === now.sort);
  if (column < 0) return items;
  const sign = view.numbers[column].lower ? 1 : -1;
  const known = items.filter(item => item.numbers[column] !== null);
  const unknown = items.filter(item => item.numbers[column] === null);
  const ranked = known.sort((a, b) => sign * (a.numbers[column] - b.numbers[column]));
  const n = ranked.length;
  const found = now.order === "worst" ? ranked.reverse()
    : now.order === "turn" ? ranked.map((_, i) => ranked[i % 2 ? n - 1 - (i >> 1) : i >> 1]) : ranked;
  return [...found, ...unknown];
};
