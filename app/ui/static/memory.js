// What this browser keeps of a visit. Private windows and strict settings may keep nothing.

const PREFIX = "emoseek.";

/** A choice kept in this browser, or null. */
export function recall(name, storage = "localStorage") {
  try {
    return window[storage].getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name, value, storage = "localStorage") {
  try {
    if (value === null) window[storage].removeItem(PREFIX + name);
    else window[storage].setItem(PREFIX + name, value);
  } catch {
    // Then it is a choice for this visit only.
  }
}
