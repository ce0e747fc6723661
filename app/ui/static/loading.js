// Hooks of asking the service: once, again on demand, or every second while something is at work.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api.js";

/**
 * What `load(signal)` gives, asked for anew when one of `inputs` changes.
 * {value, error, loading, reload, poll}; the value before stays while a new one is on its way.
 * `poll` reloads unless an answer is awaited: a slow one would else be given up again and again.
 * Where the service is starting it is asked again by itself.
 */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ value: null, error: null, loading: true });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  const awaited = useRef(false);
  useEffect(() => {
    const stop = new AbortController();
    let again;
    awaited.current = true;
    setState((before) => ({ ...before, loading: true }));
    latest
      .current(stop.signal)
      .then((value) => {
        if (stop.signal.aborted) return;
        awaited.current = false;
        setState({ value, error: null, loading: false });
      })
      .catch((error) => {
        if (error.name === "AbortError" || stop.signal.aborted) return;
        awaited.current = false;
        setState({ value: null, error, loading: false });
        if (!(error instanceof ApiError)) throw error;
        if (error.retryAfter) again = setTimeout(() => setTurn((n) => n + 1), error.retryAfter * 1000);
      });
    return () => {
      stop.abort();
      clearTimeout(again);
    };
  }, [...inputs, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const poll = useCallback(() => awaited.current || reload(), []);
  return { ...state, reload, poll };
}

/** Calls `work` every `seconds` while `on`, and not while the page is hidden. */
export function useEvery(seconds, on, work) {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(() => document.hidden || latest.current(), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds, on]);
}

/**
 * An action of the visitor's: [run, {busy, error}]. While it is at work it is not begun again.
 */
export function useAction(action) {
  const [state, setState] = useState({ busy: false, error: null });
  const busy = useRef(false);
  const run = async (...given) => {
    if (busy.current) return undefined;
    busy.current = true;
    setState({ busy: true, error: null });
    try {
      const result = await action(...given);
      setState({ busy: false, error: null });
      return result;
    } catch (error) {
      setState({ busy: false, error });
      if (!(error instanceof ApiError)) throw error;
      return undefined;
    } finally {
      busy.current = false;
    }
  };
  return [run, state];
}

/** Whether a cluster run or a report is not through yet. */
export const isUnderWay = ({ state }) => state === "queued" || state === "running";
