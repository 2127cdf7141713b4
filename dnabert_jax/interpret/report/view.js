// Which bases of a sequence are in view, and what wheel, fingers and keys do to that.

const LEAST_BASES = 12;

class View {
  /** @param changed called when other bases come into view. */
  constructor(changed) {
    this.changed = changed;
    this.length = 1;
    this.from = 0;
    this.to = 1;
  }

  reset(length = this.length) {
    this.length = length;
    this.set(0, length);
  }

  /** Shows [from, to), at least a few bases of it, within the sequence. */
  set(from, to) {
    const span = clamp(to - from, Math.min(LEAST_BASES, this.length), this.length);
    const middle = (from + to) / 2;
    this.from = clamp(middle - span / 2, 0, this.length - span);
    this.to = this.from + span;
    this.changed();
  }

  /** Zooms in by a factor around a base, which stays where it is. */
  zoom(factor, around = (this.from + this.to) / 2) {
    const span = clamp((this.to - this.from) / factor, Math.min(LEAST_BASES, this.length), this.length);
    const share = (around - this.from) / (this.to - this.from);
    this.set(around - share * span, around + (1 - share) * span);
  }

  pan(bases) {
    const move = clamp(bases, -this.from, this.length - this.to);
    this.set(this.from + move, this.to + move);
  }

  get whole() {
    return this.to - this.from >= this.length - 1e-6;
  }
}

/** Has an element move the view. `place` tells at which base, with its fraction, an event is; `scale` pixels a base. */
function listen(element, view, place, scale, hover) {
  const fingers = new Map();
  let moved = false;
  element.addEventListener(
    "wheel",
    (event) => {
      // A page must scroll: the wheel zooms where the tracks were clicked, or with Ctrl, which pinching a touchpad sends.
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (!sideways && !event.ctrlKey && document.activeElement !== element) return;
      event.preventDefault();
      if (sideways) view.pan(event.deltaX / scale());
      else view.zoom(Math.exp(-clamp(event.deltaY, -120, 120) * (event.ctrlKey ? 0.008 : 0.003)), place(event));
    },
    { passive: false },
  );
  element.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event.clientX);
    moved = false;
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return hover(event);
    const before = [...fingers.values()];
    const shift = event.clientX - fingers.get(event.pointerId);
    if (fingers.size === 1 && !moved && Math.abs(shift) < 4) return undefined;
    if (!moved) element.setPointerCapture(event.pointerId); // not before, so that a click reaches what it is on
    moved = true;
    element.classList.add("dragging");
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    if (fingers.size === 1) view.pan(-shift / scale());
    else {
      const gap = (points) => Math.max(Math.abs(points[0] - points[1]), 8);
      view.zoom(gap(after) / gap(before), place({ clientX: (after[0] + after[1]) / 2, clientY: 0 }));
    }
    return undefined;
  });
  const lift = (event) => {
    fingers.delete(event.pointerId);
    element.classList.remove("dragging");
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("pointerleave", (event) => {
    if (!fingers.size) hover(event, true);
  });
  element.addEventListener("click", (event) => {
    if (moved) event.stopPropagation();
  }, true);
  element.addEventListener("dblclick", () => view.reset());
}
