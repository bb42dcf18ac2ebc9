// One item in full, in a dialog.
"use strict";

const SAID = {
  "from the brain": "the brain rules out about half of what the prior holds likely, or more",
  "from the prior": "the brain tells nothing of it, or rules it out: the generator added it",
  "undecidable": "neither can be said",
};

const row = (name, ...value) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "num" }, ...value));

const lines = item => item.texts?.length
  ? el("dl", { class: "said" }, item.texts.map(([label, text]) =>
    el("div", {}, label ? el("dt", {}, label) : null, el("dd", {}, text)))) : null;

const labels = item => {
  const told = Object.entries(item.facets).filter(([name]) => !name.endsWith(" in the picture"));
  return told.length ? el("ul", { class: "chips" }, told.map(([name, value]) =>
    el("li", {}, el("b", {}, name), value))) : null;
};

// Every number with its place among the items of the view that have it.
const numbers = (view, item) => !view.numbers.length || !item.numbers ? null
  : el("table", { class: "numbers" }, el("tbody", {}, view.numbers.map(({ title, lower }, k) => {
    const own = item.numbers[k];
    if (own === null) return null;
    const better = view.items.filter(other => other.numbers[k] !== null
      && (lower ? other.numbers[k] < own : other.numbers[k] > own)).length;
    const of = view.items.filter(other => other.numbers[k] !== null).length;
    return row(title, say(own), el("small", {}, ` place ${better + 1} of ${of}`));
  })));

const DETAILS = {
  pictures(view, item) {
    const told = Object.entries(item.verdicts || {});
    return [el("div", { class: "shots big" }, item.shots.map(([label, reference]) =>
      figureOf(reference, label, `${label}, ${item.name}`, label === "presented" ? "lead" : ""))),
    told.length ? el("div", {}, claims(item), el("ul", { class: "meaning" }, [...new Set(told.map(([, said]) => said))]
      .map(said => el("li", {}, el("b", {}, said), `: ${SAID[said] || ""}`)))) : null,
    lines(item), elsewhere("retrieval", item, "What was retrieved for it"), numbers(view, item)];
  },
  retrieval(view, item) {
    const { names, texts, shots } = view.more.gallery;
    const picture = (row, label, kind) => figureOf(shots[row], shots[row] === null ? texts[row] || names[row] : label,
      `${label}: ${names[row]}. ${texts[row]}`, kind);
    return [el("div", { class: "shots big" }, picture(item.own, "presented", "lead"), item.near.map(([row, s], i) =>
      picture(row, `${i + 1}. ${names[row]}, ${say(s)}`, row === item.own ? "hit" : ""))),
    el("p", { class: "foot" }, `Rank of the presented stimulus: ${say(item.numbers[0])} of ${names.length}. `
      + "Beside each name the decoder's own similarity; the presented one is framed where it is among the nearest."),
    lines(item), elsewhere("pictures", item, "What was drawn of it"), numbers(view, item)];
  },
  latents(view, item) {
    const group = view.more.groups[item.group], { null: none, reference, ceiling } = item.marks;
    const said = [["best baseline", reference], ["null (95 % of refits, largest of all latents)", none],
      ["without noise between repeats", ceiling]].filter(([, v]) => v !== null);
    return [el("div", { class: "shots big" }, item.shots.map(([label, reference]) =>
      figureOf(reference, label, `${item.name}, ${label}`))), lines(item),
    el("h3", {}, "How well it is read"), gauge(item),
    el("table", { class: "numbers" }, el("tbody", {},
      row("Area under the ROC", `${say(item.numbers[0])} [${say(item.interval[0])}, ${say(item.interval[1])}]`),
      said.map(([name, v]) => row(name, say(v))))),
    item.places || item.map !== undefined ? el("h3", {}, "Where or when") : null,
    el("div", { class: "place" }, item.map !== undefined
      ? el("figure", { class: "map" }, shot(item.map, `${item.name}: correlation with voxels, seen from above`),
        el("figcaption", {}, "voxels from above, front up")) : null,
    item.places ? places(item, group) : null)];
  },
  scores(view, item) {
    return [range(item), el("table", { class: "numbers" }, el("tbody", {},
      row("Value", say(item.numbers[0])), row("95 % interval", `[${say(item.interval[0])}, ${say(item.interval[1])}]`),
      row("Chance", say(item.chance)), row(`Null, mean of ${item.null_n} refits`, say(item.null)),
      row(`Ceiling${item.ceiling_kind ? ` (${item.ceiling_kind})` : ""}`, say(item.ceiling)),
      row("p", say(item.numbers[2])), row("n", say(item.numbers[3])),
      row("Better is", item.lower ? "lower" : "higher"))), lines(item)];
  },
  figures(view, item) {
    return [el("div", { class: "frame" }, el("img", { src: item.figure, alt: item.name, class: "figure" })),
      lines(item), item.distances ? matrix(item.distances) : null];
  },
};
DETAILS.distances = DETAILS.maps = DETAILS.time = DETAILS.figures;

// The same stimulus of the same subject in another view.
const elsewhere = (key, item, words) => {
  const view = BRAINDEC.views.find(v => v.key === key);
  const found = view?.items.find(other => other.name === item.name && other.who === item.who);
  if (!found) return null;
  const address = new URLSearchParams({ view: key, item: found.key });
  return el("p", {}, el("a", { href: `#${address}` }, words));
};

// Areas by place: bars of regions, or steps over times.
const places = (item, group) => {
  const wide = 360, tall = 120, n = item.places.length, foot = 18, step = wide / n;
  const low = Math.min(0.45, ...item.places.filter(v => v !== null)), high = group.top;
  const y = v => 12 + (tall - foot - 12) * (1 - (v - low) / (high - low));
  const bars = item.places.map((v, i) => v === null ? "" : drawn("rect", { class: "bar", x: i * step + (n > 8 ? 0 : step / 6),
    width: n > 8 ? step + 0.3 : step * 2 / 3, y: Math.min(y(v), y(0.5)), height: Math.abs(y(v) - y(0.5)) }));
  const names = group.places.map((name, i) => {
    const text = drawn("text", { x: (i + 0.5) * step, y: tall - 4, "text-anchor": "middle" });
    text.textContent = name;
    return text;
  });
  const values = n > 8 ? [] : item.places.map((v, i) => {
    const text = drawn("text", { class: "of", x: (i + 0.5) * step, y: Math.max(10, Math.min(y(v ?? 0.5), y(0.5)) - 3),
      "text-anchor": "middle" });
    text.textContent = v === null ? "" : v.toFixed(2);
    return text;
  });
  const line = drawn("line", { class: "chance", x1: 0, x2: wide, y1: y(0.5), y2: y(0.5) });
  const best = Math.max(...item.places.filter(v => v !== null));
  return drawn("svg", { class: "places", viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `area by place, largest ${say(best)}` }, ...bars, line, ...names, ...values);
};

// Distances that can be asked one by one: by pointing, by the arrow keys, in words for whoever does not see them.
const matrix = ({ label, names, groups, shots, rows }) => {
  const n = names.length, side = Math.max(1, Math.floor(560 / n)), canvas = el("canvas", { width: n * side,
    height: n * side, tabindex: 0, role: "application", class: "matrix",
    "aria-label": `${label} of ${n} conditions; arrow keys move from pair to pair` });
  const off = rows.flatMap((r, i) => r.filter((v, j) => i !== j && v !== null)).sort((a, b) => a - b);
  const low = off[Math.floor(0.01 * (off.length - 1))] ?? 0, high = off[Math.ceil(0.99 * (off.length - 1))] ?? 1;
  const told = el("p", { class: "pair", "aria-live": "polite" }), pictures = el("div", { class: "shots two" });
  let at = [0, Math.min(1, n - 1)];
  const paint = () => {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    rows.forEach((r, i) => r.forEach((v, j) => {
      if (i === j || v === null) return;
      const share = Math.min(1, Math.max(0, (v - low) / (high - low || 1)));
      pen.fillStyle = BRAINDEC.colours[Math.round(share * (BRAINDEC.colours.length - 1))];
      pen.fillRect(j * side, i * side, side, side);
    }));
    pen.strokeStyle = "#e08a00";
    pen.lineWidth = 2;
    pen.strokeRect(at[1] * side + 1, at[0] * side + 1, Math.max(2, side - 2), Math.max(2, side - 2));
  };
  const ask = (i, j) => {
    at = [Math.max(0, Math.min(n - 1, i)), Math.max(0, Math.min(n - 1, j))];
    const [a, b] = at, named = k => groups ? `${names[k]} (${groups[k]})` : names[k];
    told.textContent = a === b ? `${named(a)}: itself` : `${named(a)} and ${named(b)}: ${label} ${say(rows[a][b])}`;
    pictures.replaceChildren(...[a, b].filter(k => shots[k] !== null && shots[k] !== undefined)
      .map(k => figureOf(shots[k], names[k], names[k])));
    paint();
  };
  const point = event => {
    const box = canvas.getBoundingClientRect();
    ask(Math.floor(n * (event.clientY - box.top) / box.height), Math.floor(n * (event.clientX - box.left) / box.width));
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    ask(at[0] + step[0], at[1] + step[1]);
  });
  ask(...at);
  return el("div", { class: "asked" }, el("h3", {}, "Pair by pair"),
    el("div", { class: "sides" }, canvas, el("div", {}, told, pictures)));
};
