// Where the visitor is: #/tab/id?parameters. Links can be sent to colleagues, and "back" goes back.

import { useEffect, useState } from "preact/hooks";
import { query } from "./api.js";

function read() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [tab, ...rest] = path.split("/");
  return {
    tab: tab || "recognise",
    id: rest.length ? decode(rest.join("/")) : null,
    params: new URLSearchParams(search),
  };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}

/** The address of a place on the page. */
export const address = (tab, id = null, params = {}) =>
  `#/${tab}${id === null ? "" : `/${encodeURIComponent(id)}`}${query(params)}`;

export function go(...place) {
  location.hash = address(...place);
}

/** {tab, id, params}, rendered anew when it changes. */
export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const follow = () => setRoute(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}
