// What every file of the page writes its elements with.

import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
