// Tracks of scores under one axis: profile of the whole, motif instances, bars that become letters, and heat maps.

class Tracks {
  /** @param chosen called with a motif's number when one of its instances is clicked. */
  constructor(own, motifs, chosen) {
    this.sequences = own.sequences;
    this.motifs = motifs;
    this.chosen = chosen;
    this.offsets = [0];
    for (const { bases } of own.sequences) this.offsets.push(this.offsets.at(-1) + bases.length);
    this.tracks = own.tracks.map((track) => ({
      label: track.label,
      scores: unpack(track.scores),
      effects: track.effects ? unpack(track.effects) : null,
    }));
    this.cursor = null; // the base that is read, or a motif instance, and a row of a heat map
    this.motif = null;
    this.view = new View(() => this.schedule());
    this.build(own);
    this.show(0);
    new ResizeObserver(() => this.schedule()).observe(this.canvas);
  }

  build(own) {
    this.list = html("ul");
    this.buttons = this.sequences.map(({ id, bases }, number) => {
      const button = html("button", {
        type: "button", title: `${id} (${plural(bases.length, "base")})`, onclick: () => this.show(number),
      }, id);
      this.list.append(html("li", {}, button));
      return button;
    });
    const search = html("input", {
      type: "search", placeholder: "Find a sequence", "aria-label": "Find a sequence by its id",
      oninput: () => {
        const wanted = search.value.trim().toLowerCase();
        this.buttons.forEach((button, number) => {
          button.parentNode.hidden = !this.sequences[number].id.toLowerCase().includes(wanted);
        });
      },
    });
    const total = own.total > this.sequences.length
      ? `The first ${this.sequences.length.toLocaleString("en-US")} of ${plural(own.total, "sequence")}`
      : plural(own.total, "sequence");
    this.heading = html("h3");
    this.range = html("span", { class: "range", id: "range", "aria-live": "polite" });
    const step = (bases) => () => this.view.pan(bases * (this.view.to - this.view.from));
    const control = (text, label, onclick) => html("button", { type: "button", "aria-label": label, title: label, onclick }, text);
    this.zoomOut = control("−", "Zoom out (key −)", () => this.view.zoom(1 / 1.6));
    this.whole = control("Whole", "The whole sequence (key 0, or double click)", () => this.view.reset());
    const steps = this.motifs ? " M steps through the motif instances, Shift with M back, and Enter goes to the motif." : "";
    this.picture = svg("svg", { "aria-hidden": "true" });
    this.canvas = html("div", {
      class: "canvas", id: "canvas", tabindex: "0", role: "application", onkeydown: (event) => this.key(event),
      "aria-label": `Tracks of the sequence. Plus and minus zoom, arrows move, Shift with an arrow moves the read-out, 0 shows all.${steps}`,
    }, this.picture);
    this.readout = html("output", { class: "readout", id: "readout", "aria-live": "polite" });
    this.element = html("div", { class: "viewer" },
      html("div", { class: "chooser" }, html("span", { class: "quiet" }, total), search, this.list),
      html("div", { class: "tracks" }, this.heading,
        html("div", { class: "controls" },
          control("+", "Zoom in (key +)", () => this.view.zoom(1.6)), this.zoomOut, this.whole,
          control("◀", "To the left (key ←)", step(-0.4)), control("▶", "To the right (key →)", step(0.4)), this.range),
        this.canvas, this.readout, this.tracks.some((track) => track.effects) ? this.scale() : null,
        html("p", { class: "quiet" }, "Drag to move; pinch, Ctrl with the wheel, or the wheel after a click zooms; a double click shows all. " +
          "Click or drag in the grey profile on top to choose what is shown. Positions are from 0, in the direction of the sequence."),
        html("p", { class: "quiet" }, `Keys, after a click or Tab into the tracks: + and − zoom, arrows move, Shift with an arrow reads the base beside, 0 shows all.${steps}`)));
    listen(this.canvas, this.view, (event) => this.frame.base(this.point(event).x), () => this.frame.pixels, (event, gone) => this.hover(event, gone));
    this.overviewBrush();
  }

  scale() {
    const shades = [...Array(21).keys()].map((step) => {
      const value = (step - 10) / 10;
      return svg("rect", { x: step, width: 1.02, y: 0, height: 1, class: value < 0 ? "negative" : "positive", "fill-opacity": Math.abs(value) });
    });
    return html("div", { class: "scale" }, "Heat map: effect of a substitution, negative",
      svg("svg", { viewBox: "0 0 21 1", preserveAspectRatio: "none", "aria-hidden": "true" }, shades), "positive, to the range in its title",
      html("span", {}, "· a dot is the base that is there"));
  }

  /** Shows a sequence: all of it, or some bases. */
  show(number, from = null, to = null) {
    this.number = number;
    this.cursor = null;
    const { id, bases } = this.sequences[number];
    this.buttons.forEach((button, other) => button.setAttribute("aria-pressed", other === number));
    this.heading.textContent = id;
    this.instances = this.lanes((this.motifs?.instances ?? []).filter((one) => one.sequence === number));
    const start = this.offsets[number];
    this.values = this.tracks.map(({ label, scores, effects }) => {
      const own = scores.subarray(start, start + bases.length);
      const extent = own.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [0, 0]);
      const changes = effects?.subarray(4 * start, 4 * (start + bases.length));
      return { label, scores: own, extent, effects: changes, most: changes?.reduce((most, one) => Math.max(most, Math.abs(one)), 0) };
    });
    this.view.reset(bases.length);
    if (from !== null) this.view.set(from, to);
  }

  /** Instances with the lane of each, so that none lies over another. */
  lanes(instances) {
    const ends = [];
    return [...instances].sort((one, other) => one.places[0] - other.places[0]).map((one) => {
      let lane = ends.findIndex((end) => end <= one.places[0]);
      if (lane < 0) lane = ends.length;
      ends[lane] = one.places[1] + 1;
      return { ...one, lane };
    });
  }

  schedule() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.render();
    });
  }

  render() {
    const { bases } = this.sequences[this.number];
    const frame = new Frame(Math.max(this.canvas.clientWidth, 200), this.view.from, this.view.to, bases);
    this.frame = frame;
    this.maps = [];
    const parts = [svg("defs", {}, svg("clipPath", { id: "plot" }, svg("rect", { x: frame.left, y: 0, width: frame.right - frame.left, height: "100%" })))];
    let y = 8;
    parts.push(drawOverview(frame, this.values[0], this.instances, y));
    y += HEIGHT.overview + HEIGHT.gap;
    this.lanesTop = y + 14;
    const lanes = Math.max(0, ...this.instances.map((one) => one.lane + 1));
    if (lanes) {
      parts.push(svg("text", { class: "label", x: frame.left, y: y + 8 }, "motif instances"),
        drawInstances(frame, this.instances, this.motifs.motifs, this.motif, this.chosen, this.lanesTop));
      y += 14 + lanes * HEIGHT.lane + HEIGHT.gap;
    }
    for (const track of this.values) {
      parts.push(...drawTrack(frame, track, y));
      y += HEIGHT.title + HEIGHT.track + HEIGHT.gap;
      if (track.effects) {
        parts.push(...drawEffects(frame, track, y));
        this.maps.push({ label: track.label, top: y + HEIGHT.title, bottom: y + HEIGHT.title + 4 * HEIGHT.cell });
        y += HEIGHT.title + 4 * HEIGHT.cell + HEIGHT.gap;
      }
    }
    if (frame.letters) {
      parts.push(drawBases(frame, y + 8));
      y += HEIGHT.letters;
    }
    parts.push(...drawAxis(frame, y));
    const top = HEIGHT.overview + 12;
    this.cursorElement = svg("rect", { class: "cursor", y: top, height: y - top });
    this.cellElement = svg("rect", { class: "cell", height: HEIGHT.cell });
    fill(this.picture, { viewBox: `0 0 ${frame.width} ${y + HEIGHT.axis}`, height: y + HEIGHT.axis }, []);
    this.picture.replaceChildren(...parts, this.cursorElement, this.cellElement);
    this.zoomOut.disabled = this.whole.disabled = this.view.whole;
    this.range.textContent = `bases ${frame.first.toLocaleString("en-US")} to ${(frame.last - 1).toLocaleString("en-US")} of ${bases.length.toLocaleString("en-US")}`;
    this.read();
  }

  /** Where an event is on the picture. */
  point(event) {
    const { left, top } = this.picture.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  hover(event, gone = false) {
    const { x, y } = this.point(event);
    const base = Math.floor(this.frame.base(x));
    this.cursor = null;
    if (!gone && x >= this.frame.left && base < this.frame.last) {
      const map = this.maps.find(({ top, bottom }) => y >= top && y < bottom);
      this.cursor = { base, map, row: map ? Math.floor((y - map.top) / HEIGHT.cell) : null };
    }
    this.read();
  }

  /** The numbers of the base under the cursor: of a heat map those of the cell alone. */
  read() {
    const { base, map, row, instance } = this.cursor ?? { base: 0 };
    const [from, to] = instance?.places ?? [base, base + 1];
    const x = this.frame.x(from);
    const width = this.frame.x(to) - x;
    const top = map ? map.top + row * HEIGHT.cell : instance ? this.lanesTop + instance.lane * HEIGHT.lane : 0;
    fill(this.cursorElement, { x, width: this.cursor ? width : 0 }, []);
    fill(this.cellElement, { x, width: map || instance ? width : 0, y: top, height: map ? HEIGHT.cell : HEIGHT.lane - 1 }, []);
    if (!this.cursor) {
      this.readout.replaceChildren(html("span", { class: "key" }, "Point at a base to read its numbers."));
      return;
    }
    const { bases } = this.sequences[this.number];
    const pair = (key, value) => html("span", {}, html("span", { class: "key" }, `${key} `), html("b", {}, value));
    const named = ({ motif, strand }) => `${this.motifs.motifs[motif].name} (${strand})`;
    if (instance) {
      this.readout.replaceChildren(pair("motif", named(instance)), pair("bases", `${digits(from)} to ${digits(to - 1)}`),
        html("span", {}, `instance ${digits(this.instances.indexOf(instance) + 1)} of ${digits(this.instances.length)}; Enter goes to the motif`));
      return;
    }
    const pairs = [pair("position", `${base.toLocaleString("en-US")} ${bases[base]}`)];
    for (const track of this.values) {
      pairs.push(pair(track.label, digits(track.scores[base])));
      [...EFFECT_BASES].forEach((letter, place) => {
        if (track.effects && letter !== bases[base] && (!map || (map.label === track.label && place === row)))
          pairs.push(pair(`${bases[base]}→${letter}`, digits(track.effects[4 * base + place])));
      });
    }
    const here = this.instances.filter(({ places }) => places[0] <= base && base < places[1]);
    if (here.length) pairs.push(pair("motif", here.map(named).join(", ")));
    this.readout.replaceChildren(...pairs);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const span = this.view.to - this.view.from;
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "+" || event.key === "=") this.view.zoom(1.6);
    else if (event.key === "-") this.view.zoom(1 / 1.6);
    else if (event.key === "0" || event.key === "Home") this.view.reset();
    else if (side && event.shiftKey) {
      const base = clamp((this.cursor?.base ?? Math.floor((this.view.from + this.view.to) / 2)) + side, 0, this.view.length - 1);
      this.cursor = { base };
      if (base < this.view.from) this.view.pan(base - this.view.from);
      else if (base + 1 > this.view.to) this.view.pan(base + 1 - this.view.to);
      else this.read();
    } else if (side) this.view.pan(side * span * 0.15);
    else if (event.key.toLowerCase() === "m" && this.instances.length) this.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Enter" && this.cursor?.instance) this.chosen(this.cursor.instance.motif);
    else return;
    event.preventDefault();
  }

  /** Reads the motif instance after or before the one that is read, around the ends, and brings it into view. */
  step(by) {
    const count = this.instances.length;
    const now = this.instances.indexOf(this.cursor?.instance);
    const instance = this.instances[now < 0 ? (by > 0 ? 0 : count - 1) : (now + by + count) % count];
    const [from, to] = instance.places;
    this.cursor = { base: from, instance };
    if (from < this.view.from || to > this.view.to) this.view.pan((from + to - this.view.from - this.view.to) / 2);
    else this.read();
  }

  /** In the profile on top a drag chooses what is shown, and a click what is in the middle. */
  overviewBrush() {
    let from = null;
    const scale = () => (this.frame.right - this.frame.left) / this.view.length;
    const at = (event) => clamp((this.point(event).x - this.frame.left) / scale(), 0, this.view.length);
    const dragged = (event) => Math.abs(at(event) - from) * scale() > 4;
    this.picture.addEventListener("pointerdown", (event) => {
      if (this.point(event).y > HEIGHT.overview + 12) return;
      event.stopPropagation();
      from = at(event);
      this.picture.setPointerCapture(event.pointerId);
    });
    this.picture.addEventListener("pointermove", (event) => {
      if (from === null) return;
      event.stopPropagation();
      if (dragged(event)) this.view.set(Math.min(from, at(event)), Math.max(from, at(event)));
    });
    this.picture.addEventListener("pointerup", (event) => {
      if (from !== null && !dragged(event)) this.view.pan(from - (this.view.from + this.view.to) / 2);
      from = null;
    });
    this.picture.addEventListener("pointercancel", () => {
      from = null;
    });
  }
}
