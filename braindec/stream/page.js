// Asks several times a second what was decoded last. Data enters as text, never as HTML.
"use strict";
const EVERY_MS = 200, N_TIMES = 200;
const of = (id) => document.getElementById(id);
const times = [];
let number = 0, drawn = 0;

function picture(id) { return "/stimulus.png?id=" + encodeURIComponent(id); }

function figure(name, source, label) {
  of(name + "-box").hidden = source === null;
  if (source === null) return;
  of(name).src = source;
  of(name).alt = of(name + "-name").textContent = label;
}

function row(id, value, share) {
  const line = document.createElement("li"), image = document.createElement("img");
  image.src = picture(id);
  image.alt = "";
  line.append(image);
  for (const [kind, text] of [["name", id], ["bar", ""], ["value", value.toFixed(3)]]) {
    const cell = document.createElement("span");
    cell.className = kind;
    cell.textContent = text;
    if (kind === "bar") {
      const filled = document.createElement("i");
      filled.style.width = (100 * share).toFixed(1) + "%";
      cell.append(filled);
    }
    line.append(cell);
  }
  return line;
}

function show(state) {
  document.title = of("title").textContent = state.title;
  if (state.number === 0) return;
  if (state.number !== number) {
    times.push(state.took_ms);
    if (times.length > N_TIMES) times.shift();
    const top = state.similarity[0], low = Math.min(0, ...state.similarity);
    of("found").replaceChildren(...state.found.map((id, i) =>
      row(id, state.similarity[i], top > low ? (state.similarity[i] - low) / (top - low) : 0)));
    figure("first", picture(state.found[0]), state.found[0]);
    figure("shown", state.event === null ? null : picture(state.event), state.event);
  }
  if (state.drawn !== null && state.drawn.number !== drawn) {
    drawn = state.drawn.number;
    figure("drawn", "/picture.png?n=" + drawn, "answer " + drawn +
      (state.drawn.event === null ? "" : ", of " + state.drawn.event));
  }
  number = state.number;
  of("said").textContent = "Answer " + state.number + (state.hits === null ? "" :
    ": " + state.hits + " of " + state.n_known + " were retrieved first");
  of("numbers").textContent = "last " + state.took_ms.toFixed(1) + ", median " + state.p50_ms.toFixed(1) +
    ", 99 % within " + state.p99_ms.toFixed(1) + " (n " + state.n + ")";
  plot();
}

function plot() {
  const canvas = of("times"), pen = canvas.getContext("2d"), most = Math.max(1, ...times);
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  times.forEach((value, i) => pen.lineTo(10 + i * (canvas.width - 20) / (N_TIMES - 1),
    canvas.height - 8 - value / most * (canvas.height - 16)));
  pen.stroke();
}

async function ask() {
  try {
    const reply = await fetch("/state.json");
    if (!reply.ok) throw new Error(String(reply.status));
    show(await reply.json());
  } catch (error) {
    of("said").textContent = "The recording has ended, or braindec was stopped.";
  }
  setTimeout(ask, EVERY_MS);
}
ask();
