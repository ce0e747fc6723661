// A hundred thousand points on a canvas: few of them as marks with shapes, many as dots that are
// written pixel by pixel. Zoom, pan, and which point is near a place, without a library: those
// that draw this many want WebGL, which remote desktops lack.

const MARKS = 4000; // points in sight that are drawn with their shapes
const BINS = 256; // of the grid by which points are found, along each side
const MOST_ZOOM = 400;

/**
 * points: {x, y, kinds}, typed arrays of as many; kinds number the looks. looks: {colour, shape} of
 * each kind; names: what is written amid the points of a kind, none of kind 0. A kind in `hidden` is
 * not drawn and not found.
 */
export class Scatter {
  constructor(canvas, points, looks, names = []) {
    this.canvas = canvas;
    this.points = points;
    this.looks = looks;
    this.names = names;
    this.amid = middles(points, names.length);
    this.aimed = false; // whether the middle is marked, for the keyboard
    this.hidden = new Set();
    this.chosen = null; // a point that is ringed
    this.image = null; // pixels of many dots
    this.background = "#ffffff";
    this.ink = "#000000";
    this.zoom = 1;
    this.centre = [0, 0];
    this.frame = 0;
    this.index();
    this.resize();
  }

  /** Sorts the points into a grid, by counting. */
  index() {
    const { x, y } = this.points;
    const count = x.length;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < count; i += 1) {
      left = Math.min(left, x[i]);
      right = Math.max(right, x[i]);
      low = Math.min(low, y[i]);
      high = Math.max(high, y[i]);
    }
    if (!count) [left, right, low, high] = [-1, 1, -1, 1];
    this.span = Math.max(right - left, high - low) * 1.06 || 1;
    this.middle = [(left + right) / 2, (low + high) / 2];
    this.centre = [...this.middle];
    this.first = new Uint32Array(BINS * BINS + 1);
    const bins = new Uint32Array(count);
    for (let i = 0; i < count; i += 1) {
      bins[i] = this.bin(y[i], 1) * BINS + this.bin(x[i], 0);
      this.first[bins[i] + 1] += 1;
    }
    for (let b = 0; b < BINS * BINS; b += 1) this.first[b + 1] += this.first[b];
    const next = this.first.slice();
    this.sorted = new Uint32Array(count);
    for (let i = 0; i < count; i += 1) {
      this.sorted[next[bins[i]]] = i;
      next[bins[i]] += 1;
    }
  }

  bin(value, axis) {
    const share = (value - this.middle[axis]) / this.span + 0.5;
    return Math.min(BINS - 1, Math.max(0, Math.floor(share * BINS)));
  }

  resize() {
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.draw();
  }

  /** CSS pixels for one unit of the map. */
  get scale() {
    return (this.zoom * Math.min(this.width, this.height)) / this.span;
  }

  place(x, y) {
    return [
      this.width / 2 + (x - this.centre[0]) * this.scale,
      this.height / 2 - (y - this.centre[1]) * this.scale,
    ];
  }

  /** Zooms by a factor around a place in CSS pixels; the middle, unless given. */
  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    const before = this.zoom;
    this.zoom = Math.min(MOST_ZOOM, Math.max(0.5, this.zoom * factor));
    const moved = (1 / before - 1 / this.zoom) * (this.span / Math.min(this.width, this.height));
    this.centre[0] += (left - this.width / 2) * moved;
    this.centre[1] -= (top - this.height / 2) * moved;
    this.draw();
  }

  pan(across, down) {
    this.centre[0] -= across / this.scale;
    this.centre[1] += down / this.scale;
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.centre = [...this.middle];
    this.draw();
  }

  /** Draws with the next frame, once however often it was asked for. */
  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    this.frame = -1; // nothing is drawn any more
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const inSight = this.inSight();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.background;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (inSight.length > MARKS) this.paintDots(context, inSight);
    else this.paintMarks(context, inSight);
    this.write(context);
    if (this.chosen !== null) this.ring(context, this.chosen);
    if (this.aimed) this.cross(context);
  }

  aim(on) {
    this.aimed = on;
    this.draw();
  }

  /** Names of kinds, amid their points. */
  write(context) {
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 4;
    context.lineJoin = "round";
    this.amid.forEach((at, kind) => {
      if (at === null || this.hidden.has(kind)) return;
      const [left, top] = this.place(...at);
      context.strokeStyle = this.background;
      context.strokeText(this.names[kind], left, top);
      context.fillStyle = this.ink;
      context.fillText(this.names[kind], left, top);
    });
  }

  cross(context) {
    const [left, top] = [this.width / 2, this.height / 2];
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.lineWidth = 2;
    context.strokeStyle = this.ink;
    context.beginPath();
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(left + 4 * x, top + 4 * y);
      context.lineTo(left + 14 * x, top + 14 * y);
    }
    context.stroke();
  }

  inSight() {
    const { x, y, kinds } = this.points;
    const across = this.width / 2 / this.scale;
    const down = this.height / 2 / this.scale;
    const [cx, cy] = this.centre;
    const found = new Uint32Array(x.length);
    let count = 0;
    for (let i = 0; i < x.length; i += 1) {
      if (Math.abs(x[i] - cx) <= across && Math.abs(y[i] - cy) <= down && !this.hidden.has(kinds[i])) {
        found[count] = i;
        count += 1;
      }
    }
    return found.subarray(0, count);
  }

  paintDots(context, inSight) {
    const { width, height } = this.canvas;
    const { x, y, kinds } = this.points;
    // Made here and not read from the canvas, which a graphics card would have to give back.
    if (this.image?.width !== width || this.image.height !== height) this.image = context.createImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(pixelOf(this.background));
    const colours = this.looks.map(({ colour }) => pixelOf(colour));
    const scale = this.scale * this.ratio;
    const side = Math.max(2, Math.round((inSight.length > 40_000 ? 2 : 3) * this.ratio));
    for (const i of inSight) {
      const left = Math.round(width / 2 + (x[i] - this.centre[0]) * scale - side / 2);
      const top = Math.round(height / 2 - (y[i] - this.centre[1]) * scale - side / 2);
      const colour = colours[kinds[i]];
      for (let row = Math.max(0, top); row < Math.min(height, top + side); row += 1) {
        for (let column = Math.max(0, left); column < Math.min(width, left + side); column += 1) {
          pixels[row * width + column] = colour;
        }
      }
    }
    context.putImageData(this.image, 0, 0);
  }

  paintMarks(context, inSight) {
    const { x, y, kinds } = this.points;
    const size = (inSight.length > 1500 ? 0.8 : 1.1) * this.ratio;
    const paths = this.looks.map(({ shape }) => new Path2D(shape));
    for (const i of inSight) {
      const [left, top] = this.place(x[i], y[i]);
      context.setTransform(size, 0, 0, size, left * this.ratio, top * this.ratio);
      context.fillStyle = this.looks[kinds[i]].colour;
      context.fill(paths[kinds[i]]);
    }
  }

  ring(context, i) {
    const [left, top] = this.place(this.points.x[i], this.points.y[i]);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.lineWidth = 2.5;
    context.strokeStyle = this.ink;
    context.beginPath();
    context.arc(left, top, 9, 0, 2 * Math.PI);
    context.stroke();
  }

  /** The point nearest to the middle of what is in sight. */
  inMiddle() {
    return this.near(this.width / 2, this.height / 2, Math.max(this.width, this.height) / 2);
  }

  /** The point nearest to a place, no further than `reach` CSS pixels; null where none is. */
  near(left, top, reach = 12) {
    const { x, y, kinds } = this.points;
    const px = this.centre[0] + (left - this.width / 2) / this.scale;
    const py = this.centre[1] - (top - this.height / 2) / this.scale;
    const radius = reach / this.scale;
    const [from, to] = [this.bin(px - radius, 0), this.bin(px + radius, 0)];
    let best = null;
    let least = radius * radius;
    for (let row = this.bin(py - radius, 1); row <= this.bin(py + radius, 1); row += 1) {
      const end = this.first[row * BINS + to + 1];
      for (let place = this.first[row * BINS + from]; place < end; place += 1) {
        const i = this.sorted[place];
        const distance = (x[i] - px) ** 2 + (y[i] - py) ** 2;
        if (distance <= least && !this.hidden.has(kinds[i])) [best, least] = [i, distance];
      }
    }
    return best;
  }
}

/** Medians of the places of the first kinds' points; null for kind 0, and where a kind has none. */
function middles({ x, y, kinds }, count) {
  const places = Array.from({ length: count }, () => []);
  kinds.forEach((kind, i) => kind < count && places[kind].push(i));
  return places.map((own, kind) => {
    if (!kind || !own.length) return null;
    return [x, y].map((values) => Float32Array.from(own, (i) => values[i]).sort()[own.length >> 1]);
  });
}

/** #rrggbb or rgb(r, g, b) as a pixel's four bytes. */
function pixelOf(colour) {
  const [red, green, blue] = colour.startsWith("#")
    ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
    : colour.match(/\d+/g).map(Number);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
