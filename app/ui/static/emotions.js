// The nine labels in the model's order, each with a colour, a shape and a dash: Okabe and Ito's
// colours, which colour-blind people tell apart, and never colour alone. As in the reports' page.

export const LABELS = [
  "angry",
  "disgusted",
  "fearful",
  "happy",
  "neutral",
  "other",
  "sad",
  "surprised",
  "unknown",
];

export const COLOURS = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#d55e00",
  "#cc79a7",
  "#56b4e9",
  "#b8a800",
  "#7f7f7f",
  "#8c6bb1",
];

// Within ±5.
export const SHAPES = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
  "M-3.5-3.5h7v7h-7Z",
  "M0-4.5 4.3 3.2h-8.6Z",
  "M0-5 4 0 0 5-4 0Z",
  "M0 4.5-4.3-3.2h8.6Z",
  "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z",
  "M-4.5-2.5-2.5-4.5 0-2 2.5-4.5 4.5-2.5 2 0 4.5 2.5 2.5 4.5 0 2-2.5 4.5-4.5 2.5-2 0Z",
  "M0-5 1.5-1.5 5-1.5 2 .8 3.2 4.5 0 2.2-3.2 4.5-2 .8-5-1.5-1.5-1.5Z",
  "M-4.5-1.5h9v3h-9Z",
];

export const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [1, 4], [12, 4], [6, 2, 1, 2], [3, 6]];

/** Colour, shape and dash of an emotion. */
export const markOf = (label) => mark(Math.max(0, LABELS.indexOf(label)));

/** The n-th mark: colours repeat after nine with another shape each, 81 pairs in all. */
export const mark = (n) => ({
  colour: COLOURS[n % COLOURS.length],
  ink: n % COLOURS.length ? "#000" : "#fff", // what can be read on it
  shape: SHAPES[(n + Math.floor(n / COLOURS.length)) % SHAPES.length],
  dash: DASHES[n % DASHES.length],
});
