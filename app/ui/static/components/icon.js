// Signs that every machine can draw, whatever fonts it has.

import { html } from "../html.js";

const PATHS = {
  play: "M3 1.5v13l11-6.5Z",
  pause: "M3 2h4v12H3ZM9 2h4v12H9Z",
  stop: "M2.5 2.5h11v11h-11Z",
  record: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12Z",
  close: "M3.4 2 8 6.6 12.6 2 14 3.4 9.4 8l4.6 4.6-1.4 1.4L8 9.4 3.4 14 2 12.6 6.6 8 2 3.4Z",
};

/** For the eye only: what it is on has words. */
export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
