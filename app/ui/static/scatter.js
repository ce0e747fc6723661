// A hundred thousand points on a canvas: few of them as marks with shapes, many as dots that are
// written pixel by pixel. Zoom, pan, and which point is near a place, without a library: those
// that draw this many want WebGL, which remote desktops lack.

const MARKS = 4000; // points in sight that are drawn with their shapes
const BINS = 256; // of the grid by which points are found, along each side
const MOST_ZOOM = 400;

/**
 * points: {x, y, kinds}, typed arrays of as many; kinds number the looks. looks: {colour, shape} of
 * each kind. A kind in `hidden` is not drawn and not found.
 */
export class Scatter {
  constructor(canvas, points, looks) {
    this.canvas = canvas;
    this.points = points;
    this.looks = looks;
    this.hidden = new Set();
    this.chosen = null; // a point that is ringed
    this.background = "#fff";
    this.ink = "#000";
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
    if (this.chosen !== null) this.ring(context, this.chosen);
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
    const image = context.getImageData(0, 0, width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = this.looks.map(({ colour }) => littleEndian(colour));
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
    context.putImageData(image, 0, 0);
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

/** #rrggbb as a pixel's four bytes. */
function littleEndian(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
