// A list of which only what is on the screen exists: ten thousand items scroll like ten.
"use strict";

const GAP = 16, BEYOND = 3; // pixels between cards; rows that are made before they are seen

class List {
  constructor(draw, open) {
    this.draw = draw;
    this.open = open;
    this.items = [];
    this.at = 0;
    this.made = new Map();
    this.element = el("ul", { class: "items", role: "list" });
    this.element.addEventListener("keydown", event => this.key(event));
    this.element.addEventListener("focusin", event => {
      const card = event.target.closest(".item");
      if (card) this.mark(+card.dataset.place);
    });
    this.scrolled = () => { this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.render(); }); };
    this.resized = () => { this.measure(); this.render(); };
    addEventListener("scroll", this.scrolled, { passive: true });
    addEventListener("resize", this.resized);
  }

  leave() {
    removeEventListener("scroll", this.scrolled);
    removeEventListener("resize", this.resized);
  }

  show(view, items) {
    this.view = view;
    this.items = items;
    this.at = 0;
    this.measure();
    this.render();
  }

  // Columns that fit, and the height of a card: the largest of some, so that all rows are alike.
  measure() {
    this.clear();
    const width = this.element.clientWidth, least = Math.min(width, +this.view.wide || 300);
    this.columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    this.width = (width - GAP * (this.columns - 1)) / this.columns;
    this.height = 0;
    const step = Math.max(1, Math.floor(this.items.length / 10));
    const longest = [...this.items].sort((a, b) => b.name.length - a.name.length).slice(0, 4);
    const tried = [...longest, ...this.items.filter((_, i) => i % step === 0)].map(item => this.card(item, 0));
    this.element.append(...tried);
    for (const card of tried) {
      card.style.height = "auto";
      this.height = Math.max(this.height, card.offsetHeight);
    }
    tried.forEach(card => card.remove());
    this.rows = Math.ceil(this.items.length / this.columns);
    this.element.style.height = `${Math.max(0, this.rows * (this.height + GAP) - GAP)}px`;
  }

  clear() {
    this.made.forEach(card => card.remove());
    this.made.clear();
  }

  card(item, place) {
    const button = el("button", { type: "button", class: "press", tabindex: place === this.at ? 0 : -1,
      "aria-haspopup": "dialog" }, this.draw(this.view, item));
    button.addEventListener("click", () => this.open(this.items, place));
    const card = el("li", { class: "item", "data-place": place, "aria-setsize": this.items.length,
      "aria-posinset": place + 1 }, button);
    card.style.width = `${this.width}px`;
    card.style.height = `${this.height}px`;
    card.style.transform = `translate(${(place % this.columns) * (this.width + GAP)}px,`
      + `${Math.floor(place / this.columns) * (this.height + GAP)}px)`;
    return card;
  }

  render() {
    if (!this.items.length) return this.clear();
    const top = this.element.getBoundingClientRect().top, row = this.height + GAP;
    const first = Math.max(0, Math.floor(-top / row) - BEYOND) * this.columns;
    const last = Math.min(this.items.length, (Math.ceil((innerHeight - top) / row) + BEYOND) * this.columns);
    for (const [place, card] of this.made) {
      if ((place < first || place >= last) && !card.contains(document.activeElement)) {
        card.remove();
        this.made.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      if (this.made.has(place)) continue;
      const card = this.card(this.items[place], place);
      const after = this.made.get(place - 1);
      if (after) after.after(card);
      else if (this.made.has(place + 1)) this.made.get(place + 1).before(card);
      else this.element.append(card);
      this.made.set(place, card);
    }
  }

  mark(place) {
    this.made.get(this.at)?.querySelector(".press").setAttribute("tabindex", -1);
    this.at = place;
    this.made.get(place)?.querySelector(".press").setAttribute("tabindex", 0);
  }

  // Moves to an item: to where it stands first, as it may not exist yet.
  focus(place) {
    if (!this.items.length) return;
    const goal = Math.max(0, Math.min(this.items.length - 1, place));
    const top = this.element.getBoundingClientRect().top + Math.floor(goal / this.columns) * (this.height + GAP);
    const head = document.querySelector(".bar")?.offsetHeight || 0;
    if (top < head + GAP) scrollBy({ top: top - head - GAP, behavior: "instant" });
    else if (top + this.height > innerHeight) scrollBy({ top: top + this.height - innerHeight + GAP, behavior: "instant" });
    this.render();
    this.mark(goal);
    this.made.get(goal)?.querySelector(".press").focus({ preventScroll: true });
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(innerHeight / (this.height + GAP))) * this.columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page, Home: -this.at, End: this.items.length - 1 - this.at };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const goal = this.at + steps[event.key];
    // Up and down keep to their column; at the edge they stay.
    if (Math.abs(steps[event.key]) === this.columns && (goal < 0 || goal >= this.items.length)) return;
    this.focus(goal);
  }
}
