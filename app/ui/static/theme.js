// Light and dark: what the visitor chose, else what the system says.

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Calls `redraw` when the colours have changed, until what it gives is called. */
export function onTheme(redraw) {
  const chosen = new MutationObserver(redraw);
  chosen.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  dark.addEventListener("change", redraw);
  return () => {
    chosen.disconnect();
    dark.removeEventListener("change", redraw);
  };
}

/** A colour of the style sheet as it is now, for what draws on a canvas. */
export const colourNow = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
