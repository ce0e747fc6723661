// A value that several parts of the page share and are rendered anew with.

import { useEffect, useState } from "preact/hooks";

export function store(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(changed) {
      value = typeof changed === "function" ? changed(value) : changed;
      listeners.forEach((tell) => tell(value));
    },
    use() {
      const [current, setCurrent] = useState(value);
      useEffect(() => {
        setCurrent(value); // it may have changed before this effect
        listeners.add(setCurrent);
        return () => listeners.delete(setCurrent);
      }, []);
      return current;
    },
  };
}
