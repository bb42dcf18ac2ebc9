// What an item looks like in its list.
"use strict";

const SIGNS = { "from the brain": ["brain", "●"], "from the prior": ["prior", "○"], "undecidable": ["open", "?"] };
const LEADING = ["presented", "reconstructed", "selected sample", "retrieved", "low-level"];

const claims = item => {
  const told = Object.entries(item.verdicts || {});
  return told.length === 0 ? null : el("ul", { class: "verdicts", "aria-label": "where it comes from" },
    told.map(([what, said]) => el("li", { class: SIGNS[said]?.[0] }, el("i", { "aria-hidden": "true" },
      SIGNS[said]?.[1] || ""), ` ${what} `, el("span", {}, said))));
};

const heading = (item, right) => el("span", { class: "head" }, el("b", {}, item.name),
  el("span", { class: "quiet" }, right ?? item.who));

const measured = (view, item) => {
  const now = state.read(), by = Math.max(0, view.numbers.findIndex(n => n.name === now.sort));
  const told = view.numbers[by];
  return !told || !item.numbers ? null
    : el("span", { class: "value" }, `${told.title} `, el("b", {}, say(item.numbers[by])));
};

const CARDS = {
  pictures(view, item) {
    const first = LEADING.flatMap(name => item.shots.filter(([label]) => label === name)).slice(0, 3);
    const shown = first.length ? first : item.shots.slice(0, 3);
    return [heading(item), el("span", { class: "shots" }, shown.map(([label, reference]) =>
      figureOf(reference, label, `${label}, ${item.name}`, label === "presented" ? "lead" : ""))),
    claims(item), measured(view, item)];
  },
  retrieval(view, item) {
    const { names, texts, shots } = view.more.gallery;
    const picture = (row, label, kind) => figureOf(shots[row], shots[row] === null ? texts[row] || names[row] : label,
      `${label}: ${names[row]}`, kind);
    return [heading(item), el("span", { class: "shots" }, picture(item.own, "presented", "lead"),
      item.near.slice(0, 3).map(([row], i) => picture(row, `nearest ${i + 1}`, row === item.own ? "hit" : ""))),
    el("span", { class: "value" }, "rank ", el("b", {}, say(item.numbers[0])), ` · ${item.facets.found}`)];
  },
  latents(view, item) {
    return [heading(item), el("span", { class: "strip" }, item.shots.slice(0, 6).map(([label, reference]) =>
      shot(reference, `${item.name}, ${label}`))),
    el("span", { class: "read" }, el("span", {}, gauge(item), el("span", { class: "value" }, "AUC ", el("b", {},
      say(item.numbers[0])), item.facets.verdict ? ` · ${item.facets.verdict}` : "")),
    item.map === undefined ? null : el("span", { class: "map" }, shot(item.map, "the brain from above")))];
  },
  scores(view, item) {
    return [heading(item), range(item), el("span", { class: "value" }, el("b", {}, say(item.numbers[0])),
      ` [${say(item.interval[0])}, ${say(item.interval[1])}] · chance ${say(item.chance)} · n ${say(item.numbers[3])}`)];
  },
  figures(view, item) {
    return [heading(item, item.facets.kind), el("span", { class: "frame" },
      el("img", { src: item.figure, alt: "", loading: "lazy", class: "figure" }))];
  },
};
CARDS.distances = CARDS.maps = CARDS.time = CARDS.figures;
const WIDE = { pictures: 320, retrieval: 320, latents: 290, scores: 330, distances: 320, maps: 420, time: 420,
  figures: 420 };

const marker = (kind, share) => {
  const mark = el("i", { class: kind });
  mark.style.left = `${100 * Math.min(1, Math.max(0, share))}%`;
  return mark;
};

const track = (low, high, value, interval, marks) => {
  const at = v => (v - low) / (high - low || 1), line = el("span", { class: "track", "aria-hidden": "true" });
  if (interval) {
    const bar = marker("range", at(interval[0]));
    bar.style.width = `${100 * Math.max(0, Math.min(1, at(interval[1])) - Math.max(0, at(interval[0])))}%`;
    line.append(bar);
  }
  for (const [kind, v] of marks) if (v !== null && v !== undefined) line.append(marker(`mark ${kind}`, at(v)));
  line.append(marker("dot", at(value)));
  return line;
};

// An area under the ROC between 0.4 and 1, beside chance, the best baseline and the ceiling.
const gauge = item => track(0.4, 1, item.numbers[0], item.interval,
  [["chance", 0.5], ["base", item.marks.reference], ["ceiling", item.marks.ceiling]]);

const range = item => {
  const known = [item.numbers[0], ...item.interval, item.chance, item.null, item.ceiling].filter(v => v !== null);
  const low = Math.min(0, ...known), high = Math.max(...known, low + 1e-9);
  return track(low, high, item.numbers[0], item.interval, [["chance", item.chance], ["ceiling", item.ceiling]]);
};
